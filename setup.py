import re
from pathlib import Path

from setuptools import find_packages, setup


ROOT = Path(__file__).parent

# The version stands in the package alone. It is read as text: importing the package needs what is yet to be installed.
VERSION = re.findall(r'^__version__ = "(.+)"$', (ROOT / "perfrdiff_hf" / "__init__.py").read_text("utf-8"), re.M)[0]

RENDERING = ["matplotlib>=3.9", "pillow>=10", "av>=14"]
# Later versions want OpenCV, and from 0.10.35 on report to their maker how they are used.
TRACKING = ["mediapipe>=0.10.30,<0.10.32", "av>=14", "pillow>=10", "h5py>=3.10"]
LIVE = ["python-osc>=1.9", "starlette>=0.45", "uvicorn>=0.34", "websockets>=14"]
RAY = ["ray[serve]>=2.60"]
TRAINING = ["tensorboard>=2.18", "scikit-learn>=1.5"]
PEFT = ["peft>=0.18"]
ONNX = ["onnx>=1.18", "onnxscript>=0.5", "onnxruntime>=1.22"]
DOCUMENTATION = ["mkdocs>=1.6,<2", "mkdocstrings[python]>=1.0"]
DEVELOPMENT = ["pytest>=8", "pytest-xdist>=3.6", "ruff>=0.9", "mypy>=1.15", "tslearn>=0.6.3", "playwright>=1.50"]

DATA_FOLDERS = {"perfrdiff_hf.model_cards": "model_cards", "perfrdiff_hf.configs": "examples/configs"}

setup(
    name="perfrdiff_hf",
    version=VERSION,
    description="Personalised appropriate facial reactions, online: PerFRDiff for the Hugging Face ecosystem",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.11",
    # Templates of cards and configurations lie where people look for them, and come with the wheel.
    packages=[*find_packages(include=["perfrdiff_hf", "perfrdiff_hf.*"]), *DATA_FOLDERS],
    package_dir=DATA_FOLDERS,
    package_data={
        "perfrdiff_hf": ["py.typed", "live/page/*"],
        "perfrdiff_hf.model_cards": ["*.md"],
        "perfrdiff_hf.configs": ["*.yaml", "*/*.yaml"],
    },
    entry_points={"console_scripts": ["perfrdiff = perfrdiff_hf.cli:main"]},
    install_requires=[
        "torch>=2.4",
        "diffusers>=0.41",
        "transformers>=5.10,<6",
        "accelerate>=1.10",
        "datasets>=4.7",
        "huggingface_hub>=1.32,<3",
        "safetensors>=0.8",
        "numpy>=1.26",
        "scipy>=1.13",
        "numba>=0.61",
        "soundfile>=0.12",
        "soxr>=0.5",
        "jinja2>=3.1",
        "pyyaml>=6",
        "tqdm>=4.66",
    ],
    extras_require={
        "rendering": RENDERING,
        "tracking": TRACKING,
        "live": LIVE,
        "ray": RAY,
        "training": TRAINING,
        "peft": PEFT,
        "onnx": ONNX,
        "docs": DOCUMENTATION,
        "dev": RENDERING + TRACKING + LIVE + TRAINING + PEFT + ONNX + DOCUMENTATION + DEVELOPMENT,
    },
)
