"""What a page holds, for tests of reports."""

from html.parser import HTMLParser


class Page(HTMLParser):
    """Tags, what they would fetch, and the words of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.fetched, self.words = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.fetched += [value for name, value in attrs if name in ("src", "href", "srcset", "action")]

    def handle_data(self, data):
        self.words.append(data)
