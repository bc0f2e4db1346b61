//! Resampling and quality measures against values of other software (`reference/gen_resampling.py`).

use danqing_imaging::quality::compare;
use danqing_imaging::resample::{Kernel, resample};
use danqing_imaging::{Picture, PixelFormat};
use danqing_testing::{Fixture, assert_close};

fn fixture() -> Fixture {
    Fixture::open("reference/imaging/resampling.safetensors")
}

#[test]
fn bicubic_is_matlabs() {
    let fixture = fixture();
    let picture = fixture.f32("picture");
    for (name, to) in
        [("down2", (15, 12)), ("down3", (10, 8)), ("down4", (8, 6)), ("up2", (60, 48)), ("up4", (120, 96))]
    {
        if name == "down4" {
            // 30 / 4 is no whole number: MATLAB keeps the scale and rounds the size up; here sizes give the scale.
            let cut: Vec<f32> = picture.chunks_exact(90).flat_map(|row| row[..84].to_vec()).collect();
            let ours = resample(&cut, (28, 24), (7, 6), 3, Kernel::Bicubic);
            // The last columns see the cut.
            for y in 0..6 {
                let theirs = &fixture.f32(name)[y * 24..][..15];
                assert_close(&format!("row {y} of {name}"), &ours[y * 21..][..15], theirs, 2e-6);
            }
            continue;
        }
        let ours = resample(&picture, (30, 24), to, 3, Kernel::Bicubic);
        assert_close(name, &ours, &fixture.f32(name), 2e-6);
    }
}

#[test]
fn quality_is_as_super_resolution_measures_it() {
    let fixture = fixture();
    let picture = |name: &str| {
        let values = fixture.f32(name).iter().map(|v| *v as u8).collect();
        Picture::new(44, 40, PixelFormat::Rgb8, values).unwrap()
    };
    let (a, b) = (picture("a"), picture("b"));
    let expected = fixture.f64("quality");
    let measured = compare(&a, &b, 4).unwrap();
    assert!((measured.psnr - expected[0]).abs() < 1e-4, "{measured:?}");
    assert!((measured.ssim - expected[1]).abs() < 1e-5, "{measured:?}");
    assert!((compare(&a, &b, 0).unwrap().psnr_rgb - expected[2]).abs() < 1e-4);
    let same = compare(&a, &a, 0).unwrap();
    assert_eq!((same.psnr, same.ssim, same.largest), (f64::INFINITY, 1.0, 0));
    assert!(compare(&a, &b.crop(0, 0, 30, 40).unwrap(), 0).unwrap_err().to_string().contains("one size"));
    assert!(compare(&a, &b, 16).unwrap_err().to_string().contains("at least 11x11"));
}
