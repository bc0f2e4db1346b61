//! Faces are cut out, drawn and laid back where they were.

use danqing_imaging::{DecodeLimits, Picture, PixelFormat, open};
use danqing_models::detectors::{Face, FaceDetector, FaceDetectorInfo};
use danqing_models::upscalers::{Purpose, Upscaler, UpscalerInfo};
use danqing_nn::LoadOptions;
use danqing_pipelines::TaskError;
use danqing_pipelines::control::{Quiet, StopFlag};
use danqing_pipelines::tasks::faces::{FaceOptions, find_faces, open_detector, restore_faces};
use danqing_tensor::{DType, Tensor, TensorError};
use danqing_testing::assets;

/// Finds what it was told, in pixels of pictures of at most `side`.
struct Told {
    info: FaceDetectorInfo,
    faces: Vec<Face>,
}

impl Told {
    fn new(side: usize, faces: Vec<Face>) -> Self {
        let info =
            FaceDetectorInfo { architecture: "told", landmarks: true, side, score: 0.5, overlap: 0.4, parameters: 0 };
        Self { info, faces }
    }
}

impl FaceDetector for Told {
    fn info(&self) -> &FaceDetectorInfo {
        &self.info
    }

    fn candidates(&self, picture: &Tensor) -> Result<Vec<Face>, TensorError> {
        assert!(picture.shape()[1..3].iter().all(|side| *side <= self.info.side));
        Ok(self.faces.clone())
    }
}

/// Paints all it gets in one colour, or leaves it.
struct Painter {
    info: UpscalerInfo,
    colour: Option<f32>,
}

impl Painter {
    fn new(colour: Option<f32>) -> Self {
        let info = UpscalerInfo {
            architecture: "painter",
            purpose: Purpose::Face,
            scale: 1,
            channels: 3,
            multiple: 128,
            least: 128,
            overlap: 0,
            exact: false,
            parameters: 0,
        };
        Self { info, colour }
    }
}

impl Upscaler for Painter {
    fn info(&self) -> &UpscalerInfo {
        &self.info
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        assert_eq!(x.shape(), [1, 128, 128, 3]);
        match self.colour {
            Some(colour) => Tensor::full(x.shape(), colour, DType::F32),
            None => Ok(x.clone()),
        }
    }
}

/// Colours that change slowly.
fn waves(width: u32, height: u32, format: PixelFormat) -> Picture {
    let channels = format.channels();
    let value = |i: usize| {
        let (x, y, c) = (i / channels % width as usize, i / channels / width as usize, i % channels);
        let wave = (x as f32 / 9.0 + c as f32).sin() + (y as f32 / 11.0 - c as f32).cos();
        (127.5 + 60.0 * wave) as u8
    };
    let pixels = (0..width as usize * height as usize * channels).map(value).collect();
    Picture::new(width, height, format, pixels).unwrap()
}

/// A face around `centre` of which the eyes are `apart` pixels from each other, turned by `angle`.
fn face([x, y]: [f32; 2], apart: f32, angle: f32) -> Face {
    let (sin, cos) = angle.sin_cos();
    let point = |u: f32, v: f32| [x + apart * (u * cos - v * sin), y + apart * (u * sin + v * cos)];
    let landmarks = [point(-0.5, -0.3), point(0.5, -0.3), point(0.0, 0.3), point(-0.45, 0.75), point(0.45, 0.75)];
    let area = [x - 1.2 * apart, y - 1.3 * apart, x + 1.2 * apart, y + 1.4 * apart];
    Face { area, score: 0.9, landmarks: Some(landmarks) }
}

/// Largest difference of two pictures' values.
fn apart(a: &Picture, b: &Picture) -> u8 {
    assert_eq!((a.width(), a.height(), a.format()), (b.width(), b.height(), b.format()));
    a.pixels().iter().zip(b.pixels()).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0)
}

#[test]
fn a_network_that_changes_nothing_leaves_the_picture() {
    let picture = waves(240, 200, PixelFormat::Rgba8);
    // Smaller and larger than the network's square, upright and turned, in the middle and beyond the border.
    for (centre, eyes, angle) in [
        ([120.0, 100.0], 20.0, 0.0),
        ([120.0, 100.0], 31.5, 0.6),
        ([120.0, 100.0], 70.0, -2.1),
        ([3.0, 190.0], 25.0, 0.3),
        ([238.0, 2.0], 60.0, 3.0),
    ] {
        let faces = vec![face(centre, eyes, angle), Face { landmarks: None, ..face([60.0, 60.0], 18.0, 0.0) }];
        let detector = Told::new(1000, faces);
        let (same, found) =
            restore_faces(&picture, &detector, &Painter::new(None), &FaceOptions::default(), &Quiet).unwrap();
        let difference = apart(&picture, &same);
        println!("{centre:?} {eyes} {angle}: {difference}, {} faces", found.len());
        assert!(difference <= 4, "{centre:?} {eyes} {angle}: {difference}");
        assert!(found[0].aligned && found.iter().skip(1).all(|found| !found.aligned));
    }
}

#[test]
fn what_is_drawn_comes_where_the_face_is() {
    let picture = waves(300, 200, PixelFormat::Rgb8);
    let detector = Told::new(150, vec![face([40.0, 50.0], 20.0, 0.5).scaled(1.0)]);
    let paint = |strength: f32| {
        let options = FaceOptions { strength, ..FaceOptions::default() };
        restore_faces(&picture, &detector, &Painter::new(Some(1.0)), &options, &Quiet).unwrap()
    };
    let (painted, found) = paint(1.0);
    // The detector saw half the picture's size.
    assert_eq!(found[0].face.area, face([40.0, 50.0], 20.0, 0.5).scaled(2.0).area);
    for at in [[80, 100], [75, 85], [60, 110]] {
        assert_eq!(painted.pixel(at[0], at[1]).unwrap(), [255; 3], "{at:?}");
    }
    for at in [[0, 0], [299, 199], [200, 100], [250, 10]] {
        assert_eq!(painted.pixel(at[0], at[1]), picture.pixel(at[0], at[1]), "{at:?}");
    }
    let (half, _) = paint(0.5);
    for ((half, whole), old) in half.pixels().iter().zip(painted.pixels()).zip(picture.pixels()) {
        let middle = (f32::from(*whole) + f32::from(*old)) / 2.0;
        assert!((f32::from(*half) - middle).abs() <= 1.0);
    }
    let (none, _) = paint(0.0);
    assert_eq!(none, picture);
}

#[test]
fn wishes_are_heeded_and_senseless_ones_refused() {
    let picture = waves(120, 100, PixelFormat::Rgb8);
    let painter = Painter::new(Some(0.0));
    let detector = Told::new(1000, vec![face([30.0, 40.0], 10.0, 0.0), face([80.0, 50.0], 15.0, 0.0)]);
    let found = |options: FaceOptions| restore_faces(&picture, &detector, &painter, &options, &Quiet);
    let all = FaceOptions::default();
    assert_eq!(found(all).unwrap().1.len(), 2);
    assert_eq!(found(FaceOptions { most: 1, ..all }).unwrap().1.len(), 1);
    assert_eq!(found(FaceOptions { smallest: 30.0, ..all }).unwrap().1.len(), 1);
    for nobody in [FaceOptions { score: Some(0.95), ..all }, FaceOptions { most: 0, ..all }] {
        let (same, faces) = found(nobody).unwrap();
        assert!(faces.is_empty());
        assert_eq!(same, picture);
    }
    assert!(matches!(found(FaceOptions { strength: f32::NAN, ..all }), Err(TaskError::Request(_))));
    assert!(matches!(found(FaceOptions { strength: 1.5, ..all }), Err(TaskError::Request(_))));
    let wrong = Painter { info: UpscalerInfo { purpose: Purpose::Restore, ..painter.info.clone() }, colour: None };
    assert!(matches!(restore_faces(&picture, &detector, &wrong, &all, &Quiet), Err(TaskError::Request(_))));
    let stop = StopFlag::default();
    stop.stop();
    assert!(matches!(restore_faces(&picture, &detector, &painter, &all, &stop), Err(TaskError::Stopped)));
    let broken = Painter::new(Some(f32::NAN));
    assert!(matches!(restore_faces(&picture, &detector, &broken, &all, &Quiet), Err(TaskError::NotANumber(_))));
}

#[test]
fn faces_of_photographs_are_found_where_they_are() {
    let Some(assets) = assets() else { return };
    let file = assets.join("weights/face/version-RFB-320.pth");
    let detector = open_detector(&file, &LoadOptions::inference(DType::F32)).unwrap();
    let photo = |name: &str| open(&assets.join(format!("images/photos/{name}.png")), &DecodeLimits::default()).unwrap();
    // Where onnxruntime has the face, running the same network on the picture brought into 320×240, the rest grey.
    for (name, area) in [
        ("kodak15", [375.6, 25.6, 707.7, 427.8]),
        ("clic_28d24b9c", [1170.3, 190.2, 1533.3, 664.8]),
        ("gb82_baby", [99.3, 1.3, 392.0, 289.1]),
    ] {
        let faces = find_faces(&photo(name), detector.as_ref(), None).unwrap();
        println!("{name}: {faces:?}");
        let size = faces[0].size();
        for (i, (got, want)) in faces[0].area.iter().zip(area).enumerate() {
            // It is seen a little smaller there.
            assert!((got - want).abs() < 0.2 * size[i % 2], "{name}: {:?} is not {area:?}", faces[0].area);
        }
    }
    let picture = photo("kodak15");
    let (painted, found) =
        restore_faces(&picture, detector.as_ref(), &Painter::new(Some(1.0)), &FaceOptions::default(), &Quiet).unwrap();
    assert!(!found.is_empty() && found.iter().all(|found| !found.aligned));
    assert_eq!(painted.pixel(540, 220).unwrap(), [255; 3]);
    assert_eq!(painted.pixel(20, 20), picture.pixel(20, 20));
}
