# SPDX-License-Identifier: Apache-2.0
# YAML values against OmegaConf, where a Python has it: PYTHON=venv/bin/python make check K=omegaconf
. "$TOP/tests/lib.sh"
python=${PYTHON:-python3}
if "$python" -c 'import omegaconf' 2>/dev/null; then
    ok "400 random documents mean what they mean to OmegaConf" "$python" "$TOP/tests/interop/omegaconf_values.py" 400
    grep '^#' ok.out >&2
else
    skip "random documents mean what they mean to OmegaConf" "no Python with omegaconf (pip install omegaconf in a venv, PYTHON=...)"
fi
done_testing
