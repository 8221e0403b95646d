"""What is said where Ray Tune is not installed."""

import subprocess
import sys


def test_without_ray_the_import_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['ray'] = None\n"
        "import pacesetter.integrations\n"
        "import pacesetter.integrations.ray_tune\n"
    )

    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert ended.returncode == 1
    assert 'needs Ray Tune, which is not installed: pip install "pacesetter[ray]"' in ended.stderr
