"""Small DICOM files in every encoding that is read, with pydicom's values.

    python reference/gen_dicom.py [OUT]

OUT defaults to fixtures/reference/dicom. Each FILE.dcm holds invented pixels and an invented patient; values.json has the
stored values of every frame as pydicom reads them and, for grey, what the window of the file makes of them in 0..1.
"""
import json
import sys
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_modality_lut, apply_windowing
from pydicom.uid import (ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGBaseline8Bit,
                         JPEGLosslessSV1, RLELossless)

out = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent / "fixtures/reference/dicom"
out.mkdir(parents=True, exist_ok=True)
CT = "1.2.840.10008.5.1.4.1.1.2"
SC = "1.2.840.10008.5.1.4.1.1.7"
HEIGHT, WIDTH = 6, 8


def dataset(name, syntax, klass=CT):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = klass
    meta.MediaStorageSOPInstanceUID = f"2.25.{sum(map(ord, name))}"
    meta.TransferSyntaxUID = syntax
    little, implicit = syntax != ExplicitVRBigEndian, syntax == ImplicitVRLittleEndian
    ds = FileDataset(name, {}, file_meta=meta, preamble=b"\0" * 128, is_little_endian=little, is_implicit_VR=implicit)
    ds.SOPClassUID, ds.SOPInstanceUID = klass, meta.MediaStorageSOPInstanceUID
    ds.StudyInstanceUID, ds.SeriesInstanceUID = "2.25.1", "2.25.2"
    ds.PatientName, ds.PatientID = "Invented^Person", "secret-7"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.Rows, ds.Columns, ds.SamplesPerPixel = HEIGHT, WIDTH, 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.PixelSpacing, ds.SliceThickness = [0.8, 0.6], 2.5
    ds.ImagePositionPatient, ds.ImageOrientationPatient = [-10.0, 20.0, 30.5], [1, 0, 0, 0, 1, 0]
    return ds


def bits(ds, allocated, stored, signed):
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = allocated, stored, stored - 1, int(signed)


def window(ds, slope, intercept, center, width, function=None):
    ds.RescaleSlope, ds.RescaleIntercept, ds.WindowCenter, ds.WindowWidth = slope, intercept, center, width
    if function:
        ds.VOILUTFunction = function


random = np.random.default_rng(7)
signed16 = random.integers(-2000, 3000, (HEIGHT, WIDTH)).astype(np.int16)
unsigned12 = random.integers(0, 4096, (HEIGHT, WIDTH)).astype(np.uint16)
colour = random.integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)

files = {}

ds = dataset("implicit", ImplicitVRLittleEndian)
bits(ds, 16, 16, True)
window(ds, 1, -24, 40, 400)
ds.PixelPaddingValue = -2000
ds.PixelData = signed16.tobytes()
sequence = pydicom.Dataset()
sequence.CodeValue = "X"
ds.ProcedureCodeSequence = [sequence]
ds["ProcedureCodeSequence"].is_undefined_length = True
files["implicit"] = ds

ds = dataset("explicit12", ExplicitVRLittleEndian)
bits(ds, 16, 12, False)
window(ds, 2, -1024, 500, 1, "LINEAR")
ds.PhotometricInterpretation = "MONOCHROME1"
ds.NumberOfFrames = 2
ds.PixelData = np.stack([unsigned12, unsigned12[::-1]]).tobytes()
files["explicit12"] = ds

ds = dataset("sigmoid", ExplicitVRLittleEndian)
bits(ds, 16, 12, False)
window(ds, 1, 0, 2000, 900, "SIGMOID")
ds.PixelData = unsigned12.tobytes()
files["sigmoid"] = ds

ds = dataset("bigendian", ExplicitVRBigEndian)
bits(ds, 16, 16, True)
window(ds, 1, 0, 100.5, 1500, "LINEAR_EXACT")
ds.PixelData = signed16.astype(">i2").tobytes()
files["bigendian"] = ds

ds = dataset("planar", ExplicitVRLittleEndian, SC)
bits(ds, 8, 8, False)
ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 1
ds.PixelData = np.moveaxis(colour, -1, 0).tobytes()
files["planar"] = ds

ds = dataset("palette", ExplicitVRLittleEndian, SC)
bits(ds, 8, 8, False)
ds.PhotometricInterpretation = "PALETTE COLOR"
for channel, name in enumerate(("Red", "Green", "Blue")):
    table = ((np.arange(256) * (channel + 1) * 257) % 65536).astype(np.uint16)
    setattr(ds, f"{name}PaletteColorLookupTableDescriptor", [256, 0, 16])
    setattr(ds, f"{name}PaletteColorLookupTableData", table.tobytes())
ds.PixelData = colour[:, :, 0].tobytes()
files["palette"] = ds

for name, values, stored, is_signed in (("rle", signed16, 16, True), ("rle_colour", colour, 8, False)):
    ds = dataset(name, ExplicitVRLittleEndian)
    bits(ds, 8 * values.dtype.itemsize, stored, is_signed)
    if values.ndim == 3:
        ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0
    ds.PixelData = values.tobytes()
    ds.compress(RLELossless, generate_instance_uid=False)
    files[name] = ds

ds = dataset("jpeg_lossless", JPEGLosslessSV1)
bits(ds, 16, 12, False)
window(ds, 1, 0, 2048, 4096)
ds.PixelData = encapsulate([imagecodecs.ljpeg_encode(unsigned12, bitspersample=12)])
ds["PixelData"].is_undefined_length = True
files["jpeg_lossless"] = ds

smooth = (np.add.outer(np.arange(HEIGHT), np.arange(WIDTH)) * 16 + 20).astype(np.uint8)
ds = dataset("jpeg_baseline", JPEGBaseline8Bit)
bits(ds, 8, 8, False)
window(ds, 1, 0, 128, 256)
ds.PixelData = encapsulate([imagecodecs.jpeg8_encode(smooth, level=98)])
ds["PixelData"].is_undefined_length = True
files["jpeg_baseline"] = ds

values = {}
for name, ds in files.items():
    path = out / f"{name}.dcm"
    ds.save_as(path, enforce_file_format=True)
    read = pydicom.dcmread(path)
    stored = read.pixel_array if name not in ("jpeg_lossless", "jpeg_baseline") else (unsigned12 if "less" in name else smooth)
    frames = stored if "NumberOfFrames" in read else stored[None]
    entry = {"frames": [frame.reshape(-1).tolist() for frame in frames]}
    if "WindowWidth" in read:
        low, high = (-(2 ** (read.BitsStored - 1)), 2 ** (read.BitsStored - 1) - 1) if read.PixelRepresentation else (0, 2**read.BitsStored - 1)
        low, high = (float(v) * float(read.RescaleSlope) + float(read.RescaleIntercept) for v in (low, high))
        shown = (apply_windowing(apply_modality_lut(frames[0], read), read) - low) / (high - low)
        if read.PhotometricInterpretation == "MONOCHROME1":
            shown = 1 - shown
        entry["shown"] = [round(float(v), 7) for v in shown.reshape(-1)]
    values[name] = entry

versions = {"pydicom": pydicom.__version__, "imagecodecs": imagecodecs.__version__, "numpy": np.__version__}
header = {"made_by": "reference/gen_dicom.py", "versions": versions, "width": WIDTH, "height": HEIGHT}
lines = ",\n".join(f" {json.dumps(n)}: {json.dumps(v)}" for n, v in values.items())
(out / "values.json").write_text(f'{{"header": {json.dumps(header)}, "files": {{\n{lines}\n}}}}\n', encoding="utf-8")
