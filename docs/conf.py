"""How Sphinx builds the site: ``nox -s docs``, in which every warning is an error."""

import sys
from pathlib import Path

from trifolium.version import __version__

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "trifolium"
author = "The trifolium authors"
project_copyright = author
release = version = __version__

extensions = [
    "public_names",
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinxarg.ext",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_build", "results"]
myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
myst_url_schemes = ["http", "https"]

nitpicky = True  # a reference to a name of trifolium that does not exist is an error
nitpick_ignore_regex = [("py:.*", r"(?!trifolium).*")]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_display_short_literal_types = True
python_use_unqualified_type_names = True
maximum_signature_line_length = 88
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # autodoc describes the attributes that have a docstring of their own

copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True

html_theme = "furo"
html_title = "trifolium"
html_theme_options = {"navigation_with_keys": True}
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
pygments_dark_style = "one-dark"
