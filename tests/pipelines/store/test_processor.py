"""The processor as a manifest names it, and how two differ."""

from __future__ import annotations

from pipelines.store.processor import another_processor, processor, processors

INTEL, AMD = "GenuineIntel 6/207 amx_bf16 avx2 fma", "AuthenticAMD 25/17 avx2 fma"


def test_this_processor_has_a_name_without_spaces_to_spare() -> None:
    named = processor()
    assert named and named == " ".join(named.split())


def test_what_differs_is_named() -> None:
    assert another_processor([INTEL], [INTEL]) == ""
    assert another_processor([], [INTEL]) == another_processor([INTEL], []) == ""
    assert another_processor([INTEL], [AMD]) == (
        "GenuineIntel 6/207 → AuthenticAMD 25/17, without amx_bf16"
    )
    assert another_processor([AMD, INTEL], [INTEL]) == (
        "AuthenticAMD 25/17 and GenuineIntel 6/207 → GenuineIntel 6/207"
    )
    limited = f"{INTEL} ONEDNN_MAX_CPU_ISA=AVX2"
    assert another_processor([INTEL], [limited]) == (
        "GenuineIntel 6/207, with ONEDNN_MAX_CPU_ISA=AVX2"
    )


def test_manifests_of_earlier_versions_name_none() -> None:
    assert processors({"counts": {}}) == []
    assert processors({"counts": {}, "processor": INTEL}) == [INTEL]
    assert processors({"counts": {"processors": [AMD, INTEL]}, "processor": INTEL}) == [AMD, INTEL]
