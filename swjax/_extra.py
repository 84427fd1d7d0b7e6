"""Whether the extra ``experiment`` is installed: importing this module says so if it is not."""

from importlib.util import find_spec

_MODULES = ("pydantic", "yaml", "xarray", "h5netcdf", "h5py", "matplotlib", "rich")

for _name in _MODULES:
    if find_spec(_name) is None:
        raise ModuleNotFoundError(
            f"The runner and the figures of swjax need {_name}, which is not installed: "
            "pip install 'swjax[experiment]', or '.[experiment]' in a clone.",
            name=_name,
        )
