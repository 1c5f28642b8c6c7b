"""Reports as one HTML file that opens anywhere: no script, nothing fetched.

`document` joins the parts, `site` is what is shown of one site, `chart` draws its series, `cells` writes values.
"""
