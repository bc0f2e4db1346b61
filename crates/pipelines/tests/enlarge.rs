//! Enlarging: tiles join without a seam, any size comes out, and a stream holds little.

use danqing_imaging::resample::{Kernel, resample};
use danqing_imaging::sharpen::{SharpenOptions, sharpen};
use danqing_imaging::{Picture, PixelFormat};
use danqing_models::upscalers::span::{Span, SpanConfig};
use danqing_models::upscalers::{Network, Purpose, Upscaler, UpscalerInfo};
use danqing_nn::{LoadOptions, Loader};
use danqing_pipelines::TaskError;
use danqing_pipelines::control::{Quiet, StopFlag};
use danqing_pipelines::embedded_upscalers::EMBEDDED_UPSCALERS;
use danqing_pipelines::tasks::enlarge::{EnlargeOptions, Enlargement, Link, TargetSize, enlarge};
use danqing_tensor::{DType, Rng, Tensor, TensorError};

/// A SPAN of random weights.
struct RandomSpan(UpscalerInfo, Span);

impl RandomSpan {
    fn new(scale: usize, colours: usize) -> Self {
        let config = SpanConfig { colours, channels: 8, blocks: 2, scale, centred: false };
        let loader = Loader::random_with(3, LoadOptions::inference(DType::F32));
        let info = UpscalerInfo {
            architecture: "SPAN",
            purpose: Purpose::Enlarge,
            scale,
            channels: colours,
            multiple: 1,
            least: 1,
            overlap: 9,
            exact: true,
            parameters: 0,
        };
        Self(info, Span::load(&loader, config).unwrap())
    }
}

impl Upscaler for RandomSpan {
    fn info(&self) -> &UpscalerInfo {
        &self.0
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        self.1.forward(x)
    }
}

/// Twice the size by repeating pixels; only takes tiles of 8, 16, … pixels.
struct Repeat(UpscalerInfo);

impl Repeat {
    fn new() -> Self {
        let info = RandomSpan::new(2, 3).0;
        Self(UpscalerInfo { architecture: "repeat", multiple: 8, least: 16, overlap: 8, ..info })
    }
}

impl Upscaler for Repeat {
    fn info(&self) -> &UpscalerInfo {
        &self.0
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let (h, w) = (x.dim(1), x.dim(2));
        assert!([h, w].iter().all(|s| *s >= 16 && s.is_multiple_of(8)), "{:?}", x.shape());
        let values = x.to_vec();
        let at = |y: usize, x: usize| &values[((y / 2) * w + x / 2) * 3..][..3];
        let out = (0..2 * h).flat_map(|y| (0..2 * w).flat_map(move |x| at(y, x).to_vec())).collect();
        Tensor::from_vec(out, &[1, 2 * h, 2 * w, 3])
    }
}

fn picture(width: u32, height: u32, format: PixelFormat) -> Picture {
    let mut values = vec![0.0; width as usize * height as usize * format.channels()];
    Rng::new(7).fill_uniform(&mut values, 0.0, 1.0);
    Picture::from_unit_f32(width, height, format, &values).unwrap()
}

fn rows(picture: &Picture) -> impl Iterator<Item = Vec<f32>> {
    let pitch = picture.width() as usize * picture.format().channels();
    picture.pixels().chunks_exact(pitch).map(|row| row.iter().map(|v| f32::from(*v) / 255.0).collect())
}

#[test]
fn tiles_join_without_a_seam() {
    for colours in [3, 1] {
        let network = RandomSpan::new(2, colours);
        let picture = picture(83, 61, PixelFormat::Rgb8);
        let whole = EnlargeOptions { tile: 512, ..Default::default() };
        let tiled = EnlargeOptions { tile: 16, ..Default::default() };
        let [whole, tiled] = [whole, tiled].map(|o| enlarge(&picture, &[Link::whole(&network)], &o, &Quiet).unwrap());
        assert_eq!((whole.width(), whole.height()), (166, 122));
        assert_eq!(whole.pixels(), tiled.pixels(), "{colours} channels");
    }
}

/// The picture plus half the mean of all that is seen of it.
struct Farsighted(UpscalerInfo);

impl Upscaler for Farsighted {
    fn info(&self) -> &UpscalerInfo {
        &self.0
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        x.add(&x.mean(&[1, 2], true)?.mul_scalar(0.5)?)
    }
}

#[test]
fn tiles_of_farsighted_networks_fade_into_each_other() {
    // One that is not, but says so, must not change by it.
    for colours in [3, 1] {
        let mut network = RandomSpan::new(2, colours);
        (network.0.exact, network.0.overlap) = (false, 20);
        let picture = picture(83, 61, PixelFormat::Rgb8);
        let [whole, tiled] = [512, 24].map(|tile| {
            enlarge(&picture, &[Link::whole(&network)], &EnlargeOptions { tile, ..Default::default() }, &Quiet).unwrap()
        });
        let largest = whole.pixels().iter().zip(tiled.pixels()).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(largest <= Some(1), "{colours} channels: {largest:?}");
    }
    // A ramp both ways, of which tiles have other means.
    let values: Vec<u8> = (0..200u32).flat_map(|y| (0..256u32).flat_map(move |x| [((x + y) / 4) as u8; 3])).collect();
    let picture = Picture::new(256, 200, PixelFormat::Rgb8, values).unwrap();
    let step = |exact: bool| {
        let network = Farsighted(UpscalerInfo { exact, overlap: 32, ..RandomSpan::new(1, 3).0 });
        let options = EnlargeOptions { tile: 64, ..Default::default() };
        let made = enlarge(&picture, &[Link::whole(&network)], &options, &Quiet).unwrap();
        let at = |x: u32, y: u32| i32::from(made.pixel(x, y).unwrap()[0]);
        let places = (1..200).flat_map(|y| (1..256).map(move |x| (x, y)));
        let steps = places.map(|(x, y)| (at(x, y) - at(x - 1, y)).abs().max((at(x, y) - at(x, y - 1)).abs()));
        steps.max().unwrap()
    };
    assert!(step(true) >= 7, "tiles side by side step by {}", step(true));
    assert!(step(false) <= 2, "faded tiles step by {}", step(false));
}

#[test]
fn tiles_are_as_a_network_takes_them() {
    let picture = picture(21, 37, PixelFormat::Rgba8);
    let enlarged =
        enlarge(&picture, &[Link::whole(&Repeat::new())], &EnlargeOptions { tile: 5, ..Default::default() }, &Quiet)
            .unwrap();
    assert_eq!((enlarged.width(), enlarged.height(), enlarged.format()), (42, 74, PixelFormat::Rgba8));
    for (y, x) in [(0, 0), (73, 41), (30, 17)] {
        let (large, small) = (enlarged.pixel(x, y).unwrap(), picture.pixel(x / 2, y / 2).unwrap());
        assert_eq!(large[..3], small[..3]);
    }
    let alpha: Vec<f32> = picture.alpha().unwrap().iter().map(|v| f32::from(*v) / 255.0).collect();
    let expected = resample(&alpha, (21, 37), (42, 74), 1, Kernel::Bicubic);
    let rounded: Vec<u8> = expected.iter().map(|v| (v.clamp(0.0, 1.0) * 255.0).round() as u8).collect();
    assert_eq!(enlarged.alpha().unwrap(), rounded);
}

#[test]
fn any_size_comes_out() {
    let picture = picture(20, 10, PixelFormat::Rgb8);
    let sizes = [
        (TargetSize::Native, (80, 40)),
        (TargetSize::Scale(3.3), (66, 33)),
        (TargetSize::Width(50), (50, 25)),
        (TargetSize::Height(100), (200, 100)),
        (TargetSize::Fit(30, 30), (30, 15)),
        (TargetSize::Scale(0.01), (1, 1)),
    ];
    let networks = [Repeat::new(), Repeat::new()];
    let chain: Vec<Link<'_>> = networks.iter().map(|n| Link::whole(n)).collect();
    for (size, expected) in sizes {
        let out = enlarge(&picture, &chain, &EnlargeOptions { size, tile: 64, ..Default::default() }, &Quiet).unwrap();
        assert_eq!((out.width(), out.height()), expected, "{size:?}");
    }
    // Without a network it is the cubic filter.
    let plain = enlarge(
        &picture,
        &[],
        &EnlargeOptions { size: TargetSize::Scale(2.0), tile: 64, ..Default::default() },
        &Quiet,
    )
    .unwrap();
    let values: Vec<f32> = rows(&picture).flatten().collect();
    let expected = resample(&values, (20, 10), (40, 20), 3, Kernel::Bicubic);
    let rounded: Vec<u8> = expected.iter().map(|v| (v.clamp(0.0, 1.0) * 255.0).round() as u8).collect();
    assert_eq!(plain.pixels(), rounded);
}

#[test]
fn rows_come_out_while_others_go_in() {
    let network = RandomSpan::new(2, 3);
    let picture = picture(16, 200, PixelFormat::Rgb8);
    let mut enlargement = Enlargement::new(
        &[Link::whole(&network)],
        (16, 200),
        (32, 400),
        3,
        &EnlargeOptions { tile: 16, ..Default::default() },
    )
    .unwrap();
    let (mut given, mut most) = (0, 0);
    for (y, row) in rows(&picture).enumerate() {
        enlargement
            .push(&row, &Quiet, &mut |_| {
                given += 1;
                Ok(())
            })
            .unwrap();
        most = most.max(2 * (y + 1) - given);
    }
    assert_eq!(given, 400);
    assert!(most <= 2 * (16 + 9 + 1), "{most} rows were held back");
}

#[test]
fn it_stops_within_a_tile_and_refuses_what_makes_no_sense() {
    let network = RandomSpan::new(2, 3);
    let picture = picture(64, 64, PixelFormat::Rgb8);
    let flag = StopFlag::default();
    flag.stop();
    let options = EnlargeOptions { tile: 16, ..Default::default() };
    assert!(matches!(enlarge(&picture, &[Link::whole(&network)], &options, &flag), Err(TaskError::Stopped)));
    let huge = EnlargeOptions { size: TargetSize::Scale(2000.0), ..Default::default() };
    assert!(enlarge(&picture, &[Link::whole(&network)], &huge, &Quiet).unwrap_err().to_string().contains("too large"));
    assert!(Enlargement::new(&[Link::whole(&network)], (0, 4), (0, 8), 3, &options).is_err());
    assert!(Enlargement::new(&[Link::whole(&network)], (u32::MAX, 1), (4, 4), 3, &options).is_err());
}

/// The picture's negative.
struct Negative(UpscalerInfo);

impl Upscaler for Negative {
    fn info(&self) -> &UpscalerInfo {
        &self.0
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        Tensor::from_vec(x.to_vec().iter().map(|v| 1.0 - v).collect(), x.shape())
    }
}

#[test]
fn a_restoring_network_may_be_taken_in_part() {
    let mut info = RandomSpan::new(1, 3).0;
    info.purpose = Purpose::Restore;
    let picture = picture(37, 29, PixelFormat::Rgb8);
    for strength in [1.0, 0.25, 0.0] {
        let network = Negative(info.clone());
        let link = Link { network: &network, strength };
        let options = EnlargeOptions { tile: 16, ..Default::default() };
        let out = enlarge(&picture, &[link], &options, &Quiet).unwrap();
        for (a, b) in picture.pixels().iter().zip(out.pixels()) {
            let (a, b) = (f32::from(*a), f32::from(*b));
            let wanted = (1.0 - strength) * a + strength * (255.0 - a);
            assert!((wanted - b).abs() <= 0.51, "{strength}: {a} became {b}");
        }
    }
}

#[test]
fn the_result_is_sharpened_as_a_whole_picture_would_be() {
    let network = RandomSpan::new(2, 3);
    for format in [PixelFormat::Rgb8, PixelFormat::Rgba8] {
        let picture = picture(40, 30, format);
        let plain = EnlargeOptions { tile: 16, ..Default::default() };
        let amount = SharpenOptions { amount: 0.8, ..Default::default() };
        let sharpened = EnlargeOptions { sharpen: Some(amount), ..plain };
        let mut streamed = [Vec::new(), Vec::new()];
        for (options, out) in [plain, sharpened].iter().zip(&mut streamed) {
            let channels = format.channels();
            let mut enlargement =
                Enlargement::new(&[Link::whole(&network)], (40, 30), (80, 60), channels, options).unwrap();
            for row in rows(&picture) {
                enlargement
                    .push(&row, &Quiet, &mut |line| {
                        out.extend_from_slice(line);
                        Ok(())
                    })
                    .unwrap();
            }
        }
        let [plain, streamed] = streamed;
        assert!(plain != streamed && streamed == sharpen(&plain, (80, 60), format.channels(), &amount).unwrap());
    }
}

#[test]
fn flat_colours_do_not_bend_at_the_border() {
    for embedded in EMBEDDED_UPSCALERS {
        let network = embedded.open(&LoadOptions::inference(DType::F32)).unwrap();
        for colour in [[255, 255, 255], [200, 40, 30], [30, 120, 220], [120, 120, 120], [250, 220, 60]] {
            let picture = Picture::new(40, 33, PixelFormat::Rgb8, colour.repeat(40 * 33)).unwrap();
            let options = EnlargeOptions { tile: 24, ..Default::default() };
            let out = enlarge(&picture, &[Link::whole(network.as_ref())], &options, &Quiet).unwrap();
            let (width, scale) = (out.width() as usize, embedded.scale);
            // A block of the network's own grid in the middle, repeated up to every border.
            let at = |x: usize, y: usize| &out.pixels()[(y * width + x) * 3..][..3];
            let (mut far, middle) = (0, [20 * scale, 16 * scale]);
            for y in 0..out.height() as usize {
                for x in 0..width {
                    let like = at(middle[0] + x % scale, middle[1] + y % scale);
                    far = at(x, y).iter().zip(like).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0).max(far);
                }
            }
            assert!(far <= 1, "{} {colour:?}: {far} of 255 from the middle", embedded.name);
        }
    }
}
