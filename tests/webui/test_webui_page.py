from webui.page import CSS, THEME, build_page


def test_builds_without_a_server_and_offers_no_api_of_its_own() -> None:
    page = build_page("http://127.0.0.1:9")
    assert page.title == "TuneVLSeg Studio"
    assert not page.analytics_enabled
    assert page.get_api_info()["named_endpoints"] == {}
    # Uploads may show patients.
    assert page.delete_cache == (600, 3600)


def test_page_and_style_name_no_other_host() -> None:
    config = str(build_page("http://127.0.0.1:9").get_config_file())
    stylesheets = [str(sheet) for sheet in (THEME._stylesheets, THEME._font_css)]
    for text in (CSS, *stylesheets):
        assert "http" not in text
    assert "fonts.googleapis" not in config
