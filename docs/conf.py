"""Settings of Sphinx. `make site` builds the site in build/site."""

import pathlib
import sys

import scn_keras

sys.path.insert(0, str(pathlib.Path(__file__).parent))

project = "scn-keras"
author = "The scn-keras authors"
project_copyright = "The scn-keras authors, Apache License 2.0"
version = release = scn_keras.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.viewcode",
    "_extensions.api_reference",
    "_extensions.catalogue",
    "_extensions.lecture",
    "_extensions.mathml",
    "_extensions.stored_notebooks",
]
exclude_patterns = [
    "_extensions",
    "lecture/slides.md",
    "tutorials/student",
    "**/.ipynb_checkpoints",
    ".jupyter_cache",
]

myst_enable_extensions = ["attrs_block", "colon_fence", "deflist", "dollarmath"]
# Sections of every depth can be linked to, as on code hosting sites.
myst_heading_anchors = 6
myst_links_external_new_tab = False

# Tutorials bring their outputs: see _extensions/stored_notebooks.py.
nb_execution_mode = "off"
# Scripts for widgets would come from another host.
nb_ipywidgets_js = {}

# Blocks without a language are commands and output.
highlight_language = "none"

html_theme = "furo"
html_title = f"scn-keras {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
pygments_dark_style = "github-dark"
html_math_renderer = "mathml"
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": True}

# Types that signatures name: those of other packages have no page here.
nitpicky = True
nitpick_ignore_regex = [("py:class", r"(?!scn_keras\.).*")]
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 72
toc_object_entries_show_parents = "hide"
viewcode_line_numbers = True
