"""A run of many steps needs no more memory than a short one, but for a few facts a file."""

import gc
import tempfile
import tracemalloc
from pathlib import Path

from tests.evidence.packs_helpers import Bench, bench, long_run, signer_of

from federation_core.evidence.build import PackRequest, build_pack

SHORT, LONG, SIZE = 200, 1_000, 4_000


async def peak(b: Bench, run_id: str) -> int:
    """Bytes that building the pack takes at most."""
    request = PackRequest((run_id,), "default")
    with tempfile.TemporaryFile() as file:
        gc.collect()
        tracemalloc.start()
        try:
            await b.ledger.read(build_pack, request, signer_of(b.signer), file)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()


async def test_memory_stays_flat(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        await long_run(b.ledger, "short", SHORT, size=SIZE)
        await long_run(b.ledger, "long", LONG, size=SIZE)
        await b.pack("short")  # what is remembered once is remembered now
        grown = await peak(b, "long") - await peak(b, "short")
    files = 2 * (LONG - SHORT)
    assert grown < files * 2_000
    assert grown < files * SIZE / 2
