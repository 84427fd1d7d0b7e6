"""Real data as measures: the bundled digits, and arrays or images from a file."""

import gzip
import io
import math
import zipfile
import zlib
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from swjax.measures._discrete import Discrete

_NPY = b"\x93NUMPY"  # how the format begins
_IDX_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def digits() -> Discrete:
    """The 1797 handwritten digits that come with scikit-learn, as points of `[-1, 1]^64`.

    Each is an image of 8 by 8 pixels, flattened row by row; the gray levels 0 to 16 become -1 to 1.
    (The test set of "Optical Recognition of Handwritten Digits", E. Alpaydin and C. Kaynak, UCI
    Machine Learning Repository, 1998.)

    Returns:
        A `Discrete` with points of shape `(1797, 64)` and equal weights.

    Raises:
        ImportError: if scikit-learn is not installed.

    >>> digits()
    Discrete(1797 atoms in dimension 64)
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError(
            "The digits come with scikit-learn, which is not installed: pip install scikit-learn, "
            "or pip install 'swjax[experiment]'."
        ) from error
    levels = np.asarray(load_digits(return_X_y=True)[0])
    return Discrete(jnp.asarray(levels / 8 - 1, float))


def _parse_idx(name: str, content: bytes) -> np.ndarray:
    """Read the IDX format of the MNIST files: type, sizes, values, all big-endian."""
    kind, rank = content[2], content[3]
    start = 4 + 4 * rank
    if kind not in _IDX_TYPES or rank == 0 or len(content) < start:
        raise ValueError(f"{name} begins like an IDX file, but its header is not valid.")
    shape = tuple(int(size) for size in np.frombuffer(content[4:start], ">u4"))
    dtype = np.dtype(_IDX_TYPES[kind])
    expected = math.prod(shape) * dtype.itemsize
    if len(content) - start != expected:
        raise ValueError(
            f"{name} announces values of shape {shape}, {expected} bytes, but holds "
            f"{len(content) - start}: it is damaged or incomplete."
        )
    values = np.frombuffer(content, dtype, offset=start)
    return values.reshape(shape).astype(dtype.newbyteorder("="))


def _parse_npy(name: str, content: bytes) -> np.ndarray:
    """Read the .npy format of NumPy."""
    if content[:6] != _NPY:
        raise ValueError(f"{name} is no array of NumPy; write arrays with numpy.savez.")
    try:
        return np.load(io.BytesIO(content), allow_pickle=False)
    except Exception as error:  # the header is parsed as Python, and a damaged one raises anything
        if "Object arrays" in str(error):
            raise ValueError(
                f"{name} holds Python objects, which could run code when read. Save an array of "
                "numbers, for example array.astype(float)."
            ) from error
        raise ValueError(f"{name} is damaged or incomplete: {error}. Save it again.") from error


def _as_floats(name: str, what: str, values: np.ndarray) -> Array:
    """The values in the default floating-point type, or the reason why they cannot be."""
    if values.dtype.kind not in "fiub":
        raise ValueError(
            f"{name} holds {what} of type {values.dtype}; real numbers are expected. "
            "Save them as such, for example with array.astype(float)."
        )
    dtype = jnp.result_type(float)
    largest = np.abs(values, where=np.isfinite(values), out=np.zeros_like(values)).max(initial=0)
    if largest > jnp.finfo(dtype).max:
        raise ValueError(
            f"{name} holds {what} up to {largest:.3g}, beyond the range of {dtype.name}. Scale "
            'them, or use double precision: jax.config.update("jax_enable_x64", True).'
        )
    return jnp.asarray(values, dtype)


def _from_archive(
    name: str, content: bytes, array: str | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """The points, and the weights if the archive has some, of an .npz file."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {member.removesuffix(".npy"): member for member in archive.namelist()}
        names = list(members)
        read = lambda key: _parse_npy(f"{name}[{key!r}]", archive.read(members[key]))
        if array is None and "points" in names:
            array = "points"
        if array is None and len(names) == 1:
            array = names[0]
        if array is None or array not in names:
            wanted = "which one to use" if array is None else f"one of these instead of {array!r}"
            raise ValueError(f"{name} holds the arrays {sorted(names)}; say {wanted}, array='...'.")
        weights = read("weights") if "weights" in names and array != "weights" else None
        return read(array), weights


def _read(path: Path, array: str | None) -> tuple[np.ndarray, np.ndarray | None]:
    """The arrays of points and weights in a file, recognized by its first bytes."""
    name, content = str(path), path.read_bytes()
    try:
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        if content[:4] == b"PK\x03\x04":
            return _from_archive(name, content, array)
        if array is not None:
            raise ValueError(f"{name} is not an .npz archive, so array={array!r} has no meaning.")
        if content[:6] == _NPY:
            return _parse_npy(name, content), None
    except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile) as error:
        raise ValueError(f"{name} is damaged or incomplete: {error}. Save it again.") from error
    except RuntimeError as error:  # a compression that Python does not know, or a password
        raise ValueError(f"{name} cannot be unpacked: {error}. Use numpy.savez.") from error
    if content[:2] == b"\x00\x00" and len(content) >= 4:
        return _parse_idx(name, content), None
    raise ValueError(
        f"{name} is not a file this function knows. It reads NumPy's .npy and .npz and the IDX "
        "files of MNIST, each also compressed with gzip."
    )


def from_file(path: str | Path, *, array: str | None = None) -> Discrete:
    """Read a measure from a file: an array of points, or a stack of images.

    The format is recognized by the content: NumPy's `.npy` and `.npz`, and the IDX format of the
    MNIST family; each of them may be compressed with gzip. Axes after the first are flattened, so
    `N` images of `h` by `w` pixels become points in dimension `h * w`. Bytes (`uint8`, the gray
    levels 0 to 255) become numbers from -1 to 1; other numbers stay as they are.

    Args:
        path: the file.
        array: name of the array in an `.npz` archive. Not needed if there is one called `points`
            or only one. An array `weights` beside it gives the weights of the atoms.

    Returns:
        A `Discrete`, with equal weights unless the archive has others.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the format is not known, the file is damaged, the array has fewer than two
            axes, is empty or not numeric, or holds values that are not finite or too large for
            the default floating-point type.

    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder) / "images.npy"
    ...     np.save(file, np.zeros((5, 28, 28), np.uint8))
    ...     measure = from_file(file)
    >>> measure
    Discrete(5 atoms in dimension 784)
    >>> measure.radius
    28.0
    """
    values, weights = _read(Path(path), array)
    if values.ndim < 2 or values.size == 0:
        raise ValueError(
            f"{path} holds an array of shape {values.shape}; (number of points, dim) or (number "
            "of images, height, width, ...) is expected. (Labels have one axis only.)"
        )
    points = values.reshape(len(values), -1)
    points = points / 127.5 - 1 if values.dtype == np.uint8 else points
    atoms = _as_floats(str(path), "values", points)
    shares = None if weights is None else _as_floats(str(path), "weights", weights)
    try:
        return Discrete(atoms, shares)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
