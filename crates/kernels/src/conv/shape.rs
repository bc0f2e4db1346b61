//! The numbers of a convolution.

/// The shape of a convolution over NHWC maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conv2dShape {
    /// Pictures.
    pub batch: usize,
    /// Rows of the input.
    pub height: usize,
    /// Columns of the input.
    pub width: usize,
    /// Channels of the input.
    pub c_in: usize,
    /// Channels of the output.
    pub c_out: usize,
    /// Kernel rows, columns.
    pub kernel: [usize; 2],
    /// Steps down, across.
    pub stride: [usize; 2],
    /// Zeros added at the top, bottom, left, right.
    pub padding: [usize; 4],
    /// Distance of the kernel's rows, columns.
    pub dilation: [usize; 2],
    /// Groups of channels that see only each other.
    pub groups: usize,
}

/// Why a [`Conv2dShape`] cannot be computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConvShapeError {
    /// A kernel size, stride, dilation or group count is 0.
    Zero,
    /// `c_in` or `c_out` is not a multiple of `groups`.
    Groups {
        /// Channels of the input.
        c_in: usize,
        /// Channels of the output.
        c_out: usize,
        /// Groups.
        groups: usize,
    },
    /// The kernel is larger than the padded input.
    TooSmall {
        /// Padded rows, columns.
        input: [usize; 2],
        /// Rows, columns that the kernel spans.
        span: [usize; 2],
    },
    /// The sizes overflow what can be addressed.
    TooLarge,
}

impl std::fmt::Display for ConvShapeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ConvShapeError::Zero => {
                write!(f, "kernel, stride, dilation and groups must be at least 1")
            }
            ConvShapeError::Groups { c_in, c_out, groups } => {
                write!(f, "{c_in} input and {c_out} output channels do not divide into {groups} groups")
            }
            ConvShapeError::TooSmall { input, span } => write!(
                f,
                "the padded input of {}x{} is smaller than the kernel's span of {}x{}; add padding",
                input[0], input[1], span[0], span[1]
            ),
            ConvShapeError::TooLarge => write!(f, "the sizes overflow what can be addressed"),
        }
    }
}

impl std::error::Error for ConvShapeError {}

impl Conv2dShape {
    /// A stride-1 convolution of an odd square kernel that keeps height and width.
    pub fn same(batch: usize, height: usize, width: usize, c_in: usize, c_out: usize, kernel: usize) -> Self {
        Conv2dShape {
            batch,
            height,
            width,
            c_in,
            c_out,
            kernel: [kernel; 2],
            stride: [1; 2],
            padding: [kernel / 2; 4],
            dilation: [1; 2],
            groups: 1,
        }
    }

    /// Whether it can be computed, and if not, why.
    ///
    /// # Errors
    /// A zero where none may be, groups that do not divide the channels, a kernel larger than the padded input, overflow.
    pub fn check(&self) -> Result<(), ConvShapeError> {
        if self.kernel.contains(&0) || self.stride.contains(&0) || self.dilation.contains(&0) || self.groups == 0 {
            return Err(ConvShapeError::Zero);
        }
        if !self.c_in.is_multiple_of(self.groups) || !self.c_out.is_multiple_of(self.groups) {
            return Err(ConvShapeError::Groups { c_in: self.c_in, c_out: self.c_out, groups: self.groups });
        }
        let span = |axis: usize| (self.kernel[axis] - 1).checked_mul(self.dilation[axis])?.checked_add(1);
        let padded = |axis: usize| {
            [self.height, self.width][axis].checked_add(self.padding[2 * axis])?.checked_add(self.padding[2 * axis + 1])
        };
        let sizes = || Some(([padded(0)?, padded(1)?], [span(0)?, span(1)?]));
        let (input, span) = sizes().ok_or(ConvShapeError::TooLarge)?;
        // The largest thing ever built is a padded, kernel-wise copy of the input or the output; bound both generously.
        let elements = self.batch.checked_mul(input[0]).and_then(|v| v.checked_mul(input[1]));
        let channels = self.c_in.max(self.c_out).max(32).checked_mul(self.kernel[0]);
        let channels = channels.and_then(|v| v.checked_mul(self.kernel[1]));
        let total = elements.zip(channels).and_then(|(e, c)| e.checked_mul(c)).and_then(|v| v.checked_mul(16));
        if total.is_none_or(|v| v > isize::MAX as usize) {
            return Err(ConvShapeError::TooLarge);
        }
        if input[0] < span[0] || input[1] < span[1] {
            return Err(ConvShapeError::TooSmall { input, span });
        }
        Ok(())
    }

    pub(crate) fn assert_valid(&self) {
        if let Err(error) = self.check() {
            panic!("{self:?}: {error}");
        }
    }

    fn out(&self, axis: usize) -> usize {
        let padded = [self.height, self.width][axis] + self.padding[2 * axis] + self.padding[2 * axis + 1];
        let span = (self.kernel[axis] - 1) * self.dilation[axis] + 1;
        if padded < span { 0 } else { (padded - span) / self.stride[axis] + 1 }
    }

    /// Rows of the output (0 if the kernel does not fit).
    pub fn out_height(&self) -> usize {
        self.out(0)
    }

    /// Columns of the output (0 if the kernel does not fit).
    pub fn out_width(&self) -> usize {
        self.out(1)
    }

    /// Positions of the kernel.
    pub fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Pixels of the input, over the batch.
    pub fn input_pixels(&self) -> usize {
        self.batch * self.height * self.width
    }

    /// Pixels of the output, over the batch.
    pub fn output_pixels(&self) -> usize {
        self.batch * self.out_height() * self.out_width()
    }

    /// Elements of the input.
    pub fn input_len(&self) -> usize {
        self.input_pixels() * self.c_in
    }

    /// Elements of the output.
    pub fn output_len(&self) -> usize {
        self.output_pixels() * self.c_out
    }

    /// Elements of the weight `[c_out, c_in / groups, kh, kw]`.
    pub fn weight_len(&self) -> usize {
        self.c_out * (self.c_in / self.groups) * self.taps()
    }

    /// Multiplications and additions of one forward pass.
    pub fn flops(&self) -> u64 {
        2 * self.output_pixels() as u64 * self.c_out as u64 * (self.c_in / self.groups * self.taps()) as u64
    }
}
