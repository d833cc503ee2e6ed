"""Pictures of any kind become right RGB."""

import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from inception_lab.data.pictures import photograph, read_rgb

CROSS = np.zeros((6, 8, 3), np.uint8)  # different in every corner
CROSS[:3, :4], CROSS[:3, 4:], CROSS[3:, :4] = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def save(path, pixels=CROSS, **options):
    Image.fromarray(pixels).save(path, **options)
    return path


def png(path, rows, bit_depth, color_type, key=None):
    """A PNG written by hand, for kinds that Pillow reads and does not write. key: the values that are transparent."""
    height, width = rows.shape[:2]

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, bit_depth, color_type, 0, 0, 0)
    lines = ["".join(f"{value:0{bit_depth}b}" for value in row.flat) for row in rows.astype(int)]
    lines = [line + "0" * (-len(line) % 8) for line in lines]
    pixels = b"".join(b"\0" + int(line, 2).to_bytes(len(line) // 8, "big") for line in lines)
    transparent = b"" if key is None else chunk(b"tRNS", np.array(key, ">u2").tobytes())
    chunks = chunk(b"IHDR", header) + transparent + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    return path


def rgb(path):
    image = read_rgb(path)
    assert image.mode == "RGB"
    return np.array(image).astype(int)


GRAY = (np.arange(48).reshape(6, 8) * 5).astype(np.uint8)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_gray_images_get_three_equal_channels(tmp_path, suffix):
    pixels = rgb(save(tmp_path / f"gray.{suffix}", GRAY))
    assert (pixels == pixels[:, :, :1]).all() and np.abs(pixels[:, :, 0] - GRAY).max() <= 6 * (suffix == "jpg")


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_of_gray_are_scaled(tmp_path, suffix):
    pixels = rgb(save(tmp_path / f"deep.{suffix}", GRAY.astype(np.uint16) * 257))
    assert (pixels == GRAY[:, :, None]).all()
    assert (rgb(save(tmp_path / f"white.{suffix}", np.full((2, 2), 65535, np.uint16))) == 255).all()
    assert (rgb(save(tmp_path / f"dim.{suffix}", np.full((2, 2), 1000, np.uint16))) == 4).all()


def test_thirty_two_bits_of_gray_hold_sixteen_or_are_refused(tmp_path):
    assert (rgb(save(tmp_path / "i.tif", GRAY.astype(np.int32) * 257)) == GRAY[:, :, None]).all()
    with pytest.raises(ValueError, match="I pixels from 70000 to 70000, where 0 to 65535 was expected"):
        read_rgb(save(tmp_path / "large.tif", np.full((2, 2), 70_000, np.int32)))


def test_sixteen_bits_of_color_are_scaled(tmp_path):
    assert np.abs(rgb(png(tmp_path / "rgb16.png", CROSS.astype(np.uint16) * 257, 16, 2)) - CROSS).max() <= 1


def test_one_bit_and_palette_images_become_their_colors(tmp_path):
    Image.fromarray(GRAY > 100).save(tmp_path / "bit.png")
    assert (rgb(tmp_path / "bit.png") == 255 * (GRAY > 100)[:, :, None]).all()
    Image.fromarray(CROSS).convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "palette.png")
    assert np.abs(rgb(tmp_path / "palette.png") - CROSS).max() <= 1


def test_cmyk_becomes_rgb(tmp_path):
    large = CROSS.repeat(8, 0).repeat(8, 1)
    Image.fromarray(large).convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    assert Image.open(tmp_path / "cmyk.jpg").mode == "CMYK"
    assert np.abs(rgb(tmp_path / "cmyk.jpg")[4::8, 4::8] - CROSS).max() < 12


@pytest.mark.parametrize("alpha, expected", [(255, 100), (0, 255), (51, 224)])
def test_transparent_pixels_show_white_behind_them(tmp_path, alpha, expected):
    rgba, la = np.full((2, 2, 4), 100, np.uint8), np.full((2, 2, 2), 100, np.uint8)
    rgba[:, :, 3] = la[:, :, 1] = alpha
    assert (rgb(save(tmp_path / "rgba.png", rgba)) == expected).all()
    Image.fromarray(la, "LA").save(tmp_path / "la.png")
    assert (rgb(tmp_path / "la.png") == expected).all()


def test_a_transparent_color_of_a_palette_is_white(tmp_path):
    image = Image.fromarray(CROSS).convert("P", palette=Image.Palette.ADAPTIVE)
    red = np.array(image)[0, 0]
    image.save(tmp_path / "p.png", transparency=int(red))
    expected = CROSS.copy()
    expected[:3, :4] = 255
    assert np.abs(rgb(tmp_path / "p.png") - expected).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_carried_out(tmp_path, orientation):
    undo = {2: "[:, ::-1]", 3: "[::-1, ::-1]", 4: "[::-1]", 5: ".transpose(1, 0, 2)"}
    undo |= {6: ".transpose(1, 0, 2)[::-1]", 7: "[::-1, ::-1].transpose(1, 0, 2)", 8: ".transpose(1, 0, 2)[:, ::-1]"}
    stored = eval("CROSS" + undo.get(orientation, ""))  # as a camera held that way would write it
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "turned.png", np.ascontiguousarray(stored), exif=exif)
    assert (rgb(path) == CROSS).all()


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_the_transparent_gray_of_a_png_is_white_at_every_depth(tmp_path, bits):
    levels = np.array([[0, 1, (1 << bits) - 1]])
    assert rgb(png(tmp_path / "key.png", levels, bits, 0, key=1))[0, :, 0].tolist() == [0, 255, 255]


@pytest.mark.parametrize("bits", [8, 16])
def test_the_transparent_color_of_a_png_is_white_at_every_depth(tmp_path, bits):
    colors = np.array([[[10, 200, 3], [0, 0, 0], [3, 200, 10]]]) * (256 if bits == 16 else 1)
    pixels = rgb(png(tmp_path / "key.png", colors, bits, 2, colors[0, 0]))[0]
    assert pixels.tolist() == [[255, 255, 255], [0, 0, 0], [3, 200, 10]]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float8_e4m3fn, torch.float32, torch.float64])
def test_floats_of_every_precision_are_read(dtype):
    values = torch.tensor([0.0, 0.25, 0.5, 1.0]).expand(3, 2, 4)
    found = photograph(values.to(dtype).requires_grad_(dtype != torch.float8_e4m3fn))
    assert torch.equal(found, photograph(values)) and (found[0] * 255).round()[0, 0].tolist() == [0, 64, 128, 255]


@pytest.mark.parametrize(
    "tensor",
    [torch.rand(3, 4, 4).to_sparse(), torch.empty(3, 4, 4, device="meta"), torch.rand(3, 4, 4, dtype=torch.complex64)],
)
def test_a_tensor_without_readable_numbers_is_refused(tensor):
    with pytest.raises(ValueError, match="source must be"):
        photograph(tensor)


# --- bounds of memory ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(65_000, 1), (1, 65_000), (3, 301)])
def test_a_strip_is_refused_before_it_is_decoded(tmp_path, monkeypatch, shape):
    path = save(tmp_path / "strip.png", np.zeros(shape, np.uint8))
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda image: pytest.fail("decoded"))
    with pytest.raises(ValueError, match="strip.png .*×.* pixels: one side is more than 100 times the other"):
        photograph(path, size=64)


def test_a_long_picture_is_read_in_bounded_memory(tmp_path):
    path = save(tmp_path / "long.png", np.zeros((100, 1, 3), np.uint8))
    assert photograph(path, size=64).shape == (1, 3, 64, 64)
