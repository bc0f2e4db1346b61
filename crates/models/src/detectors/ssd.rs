//! Boxes that a network says relative to squares laid over the picture, the priors (Liu et al., arXiv:1512.02325).

use danqing_tensor::{DType, Tensor, TensorError};

use super::Face;
use crate::error::invalid;

/// The variances of centres and of sizes.
const VARIANCE: [f32; 2] = [0.1, 0.2];

/// The priors of a map: squares of these sides around the centre of each cell.
#[derive(Debug, Clone, Copy)]
pub(super) struct Level {
    /// Pixels of the picture for each cell.
    pub stride: usize,
    pub sides: &'static [f32],
}

/// What a network says about each prior of a map, the channels grouped by prior.
pub(super) struct Said {
    /// Two numbers each: no face, face.
    pub classes: Tensor,
    /// Four numbers each: the centre's move, the logarithms of the sides.
    pub boxes: Tensor,
    /// Ten numbers each: moves of five points from the centre.
    pub landmarks: Option<Tensor>,
}

/// The picture that priors are laid over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub width: usize,
    pub height: usize,
    /// Whether the cells of a map divide the picture evenly, where otherwise the last may reach beyond it, and the priors are no
    /// larger than the picture.
    pub fitted: bool,
}

/// The faces of a map in the order of its priors.
pub(super) fn faces(level: Level, said: &Said, frame: Frame) -> Result<Vec<Face>, TensorError> {
    let (rows, columns, each) = (said.classes.dim(1), said.classes.dim(2), level.sides.len());
    let count = rows * columns * each;
    let values = |tensor: &Tensor, numbers: usize| match tensor.numel() == count * numbers {
        true => tensor.cast(DType::F32).map(|t| t.to_vec()),
        false => Err(invalid("face detector", format!("{:?} is not {numbers} for each prior", tensor.shape()))),
    };
    let (classes, boxes) = (values(&said.classes, 2)?, values(&said.boxes, 4)?);
    let points = said.landmarks.as_ref().map(|landmarks| values(landmarks, 10)).transpose()?;
    let limit = |v: f32, side: usize| if frame.fitted { v.min(side as f32) } else { v };
    let step = |cells: usize, side: usize| if frame.fitted { side as f32 / cells as f32 } else { level.stride as f32 };
    let steps = [step(columns, frame.width), step(rows, frame.height)];
    let mut out = Vec::with_capacity(count);
    for i in 0..count {
        let (row, column, side) = (i / each / columns, i / each % columns, level.sides[i % each]);
        let middle = [(column as f32 + 0.5) * steps[0], (row as f32 + 0.5) * steps[1]];
        let sides = [limit(side, frame.width), limit(side, frame.height)];
        let offset = &boxes[4 * i..][..4];
        let at = |axis: usize| middle[axis] + offset[axis] * VARIANCE[0] * sides[axis];
        let half = |axis: usize| sides[axis] * (offset[2 + axis] * VARIANCE[1]).exp() / 2.0;
        let landmarks = points.as_ref().map(|points| {
            let point = |k: usize| {
                let along = |axis: usize| middle[axis] + points[10 * i + 2 * k + axis] * VARIANCE[0] * sides[axis];
                [along(0), along(1)]
            };
            std::array::from_fn(point)
        });
        out.push(Face {
            area: [at(0) - half(0), at(1) - half(1), at(0) + half(0), at(1) + half(1)],
            score: 1.0 / (1.0 + (classes[2 * i] - classes[2 * i + 1]).exp()),
            landmarks,
        });
    }
    Ok(out)
}

/// Faces of at least `score`, the surest first, without those that share more than `overlap` with a surer one.
pub(super) fn chosen(mut faces: Vec<Face>, score: f32, overlap: f32) -> Vec<Face> {
    faces.retain(|face| face.score >= score && face.is_finite());
    // The order is stable, so that the result is the same everywhere for equal scores.
    faces.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut kept: Vec<Face> = Vec::new();
    for face in faces {
        if kept.iter().all(|other| shared(&face.area, &other.area) <= overlap) {
            kept.push(face);
        }
    }
    kept
}

/// What two areas share of what they cover together.
fn shared(a: &[f32; 4], b: &[f32; 4]) -> f32 {
    let area = |[x0, y0, x1, y1]: [f32; 4]| (x1 - x0).max(0.0) * (y1 - y0).max(0.0);
    let both = area([a[0].max(b[0]), a[1].max(b[1]), a[2].min(b[2]), a[3].min(b[3])]);
    both / (area(*a) + area(*b) - both).max(f32::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn face(x: f32, score: f32) -> Face {
        Face { area: [x, 0.0, x + 10.0, 10.0], score, landmarks: None }
    }

    #[test]
    fn of_faces_on_top_of_each_other_the_surest_stays() {
        let faces = vec![face(0.0, 0.8), face(3.0, 0.9), face(40.0, 0.7), face(80.0, 0.1), face(f32::NAN, 1.0)];
        let kept: Vec<f32> = chosen(faces, 0.5, 0.3).iter().map(|face| face.area[0]).collect();
        assert_eq!(kept, [3.0, 40.0]);
        assert_eq!(shared(&[0.0, 0.0, 10.0, 10.0], &[5.0, 0.0, 15.0, 10.0]), 1.0 / 3.0);
        assert_eq!(shared(&[0.0; 4], &[0.0; 4]), 0.0);
    }

    #[test]
    fn a_silent_network_gives_its_priors() {
        let level = Level { stride: 8, sides: &[10.0, 400.0] };
        let zeros = |n: usize| Tensor::zeros(&[1, 2, 3, 2 * n], DType::F32).unwrap();
        let said = Said { classes: zeros(2), boxes: zeros(4), landmarks: Some(zeros(10)) };
        let fitted = faces(level, &said, Frame { width: 18, height: 16, fitted: true }).unwrap();
        assert_eq!((fitted[2].area, fitted[11].area), ([4.0, -1.0, 14.0, 9.0], [6.0, 4.0, 24.0, 20.0]));
        let faces = faces(level, &said, Frame { width: 20, height: 16, fitted: false }).unwrap();
        assert_eq!(faces.len(), 12);
        assert_eq!((faces[2].area, faces[2].score), ([7.0, -1.0, 17.0, 9.0], 0.5));
        assert_eq!(faces[11].area, [-180.0, -188.0, 220.0, 212.0]);
        assert_eq!(faces[2].landmarks.unwrap()[4], [12.0, 4.0]);
    }
}
