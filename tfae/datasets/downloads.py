"""The files that a TFDS data set is prepared from: staged from a folder, or within reach of a download."""

from __future__ import annotations

import shutil
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import tensorflow_datasets as tfds
from tensorflow_datasets.core.download import checksums, resource

# Seconds that hosts have to answer, all together.
_PATIENCE = 5.0


def stage(name: str, builder: tfds.core.DatasetBuilder, folder: Path, download_dir: Path) -> None:
    """Copy the original files to where TFDS looks before it downloads, and check them, which TFDS does not."""
    if not folder.is_dir():
        raise ValueError(f"manual_dir: expected an existing folder; received {str(folder)!r}, which is not there.")
    url_infos = builder.url_infos or {}
    if not url_infos and not builder.MANUAL_DOWNLOAD_INSTRUCTIONS:
        raise ValueError(
            f"manual_dir: expected None for {name!r}, for which TFDS lists no original files; received {str(folder)!r}."
        )
    missing: dict[str, checksums.UrlInfo] = {}
    for url, expected in url_infos.items():
        path = folder / _file_name(url, expected)
        if not path.is_file():
            missing[url] = expected
            continue
        # The size first: reading gigabytes of a wrong file to find its sum would be a waste.
        received = checksums.compute_url_info(path) if path.stat().st_size == expected.size else None
        if received is None or received.checksum != expected.checksum:
            found = f"{path.stat().st_size} bytes" if received is None else f"sha256 {received.checksum}"
            raise ValueError(
                f"manual_dir: expected {path.name!r} of {name!r} with {int(expected.size)} bytes and sha256 "
                f"{expected.checksum}; received {found} in {str(folder)!r}. Is it complete, and of this data set?"
            )
        staged = download_dir / resource.get_dl_fname(url, expected.checksum)
        shutil.copyfile(path, staged)
        resource.write_info_file(
            url=url, path=staged, dataset_name=builder.name, original_fname=path.name, url_info=received
        )
    # The list is that of all configurations, and one of them may need a part of it only.
    has_choice = len(builder.BUILDER_CONFIGS) > 1 and len(missing) < len(url_infos)
    if missing and (not has_choice or unreachable_hosts(missing)):
        raise ValueError(
            f"manual_dir: expected the original files of {name!r}; received {str(folder)!r} without "
            f"{_list_files(missing)}."
        )


def validate_obtainable(name: str, builder: tfds.core.DatasetBuilder) -> None:
    """Raise ValueError, within seconds, where TFDS would fail after minutes of retries."""
    or_data_dir = f"or pass the data_dir= of a machine that has prepared it (now {str(builder.data_dir_root)!r})"
    if builder.MANUAL_DOWNLOAD_INSTRUCTIONS:
        raise ValueError(
            f"manual_dir: expected a folder for {name!r}, whose files can not be downloaded without registration; "
            f"received None. Put them into a folder and pass it, {or_data_dir}. TFDS says: "
            f"{' '.join(builder.MANUAL_DOWNLOAD_INSTRUCTIONS.split())}"
        )
    url_infos = builder.url_infos or {}
    hosts = unreachable_hosts(url_infos)
    # Where some answer, let TFDS try: its list can hold addresses that are no longer used.
    if hosts and len(hosts) == len(set(map(_host, url_infos))):
        raise ValueError(
            f"source: expected a data set that is prepared or can be downloaded; received {name!r}, and no answer from "
            f"{', '.join(hosts)}. Put these files into a folder and pass it as manual_dir=, {or_data_dir}: "
            f"{_list_files(url_infos)}."
        )


def unreachable_hosts(urls: Iterable[str], *, patience: float = _PATIENCE) -> list[str]:
    """Return the hosts that do not answer, asked for the first byte of one file each and all at once."""
    url_of = {_host(url): url for url in urls}
    reached: set[str] = set()

    def probe(host: str, url: str) -> None:
        request = urllib.request.Request(url, headers={"Range": "bytes=0-0", "User-Agent": "tfae"})
        try:
            with urllib.request.urlopen(request, timeout=patience):
                reached.add(host)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code in (404, 405, 410, 416):  # the host itself says so; other errors can be a proxy's
                reached.add(host)
        except (OSError, ValueError):
            pass

    # Daemons, because a name server that does not answer blocks longer than any timeout that urllib knows.
    threads = [threading.Thread(target=probe, args=item, daemon=True) for item in url_of.items()]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + patience
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return [host for host in url_of if host not in reached]


def _host(url: str) -> str:
    return urllib.parse.urlsplit(url).hostname or url


def _file_name(url: str, info: checksums.UrlInfo) -> str:
    return info.filename or PurePosixPath(urllib.parse.urlsplit(url).path).name


def _list_files(url_infos: dict[str, checksums.UrlInfo]) -> str:
    shown = [f"{_file_name(url, info)} ({info.size}, {url})" for url, info in list(url_infos.items())[:10]]
    return ", ".join(shown) + (f" and {len(url_infos) - 10} more" if len(url_infos) > 10 else "")
