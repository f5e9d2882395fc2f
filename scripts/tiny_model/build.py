"""Make the embedded model: train it, write the GGUF file, score it, put it in place.

    python scripts/tiny_model/build.py

Takes about an hour of one processor core and needs the dependency group ``train`` and the extra ``local``. A stopped
run goes on where it was.
"""

import argparse
import hashlib
from pathlib import Path

import evaluate
import export
import train

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "core/llm/providers/llama_cpp/embedded/tiny-chat-q8_0.gguf"


def write_checksum(model: Path) -> str:
    """Record the sha256 beside the model, in the form that ``sha256sum --check`` reads."""
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    model.with_name(model.name + ".sha256").write_text(f"{digest}  {model.name}\n", encoding="utf-8")
    return digest


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--work",
        type=Path,
        default=ROOT / "build/tiny_model",
        help="folder for checkpoints (default: build/tiny_model)",
    )
    parser.add_argument("--target", type=Path, default=SHIPPED, help="GGUF file to write (default: the one that ships)")
    arguments = parser.parse_args()
    folder = train.train(arguments.work)
    model = export.export(folder, arguments.target)
    print(f"{model}: {model.stat().st_size} bytes, sha256 {write_checksum(model)}")
    print(evaluate.table(evaluate.evaluate(model)))


if __name__ == "__main__":
    main()
