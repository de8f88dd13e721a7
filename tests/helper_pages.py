"""A reader of the pages that the project writes."""

from html.parser import HTMLParser


class Page(HTMLParser):
    """Reads a page: its images, its tables as lists of cells, and whether its tags are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.images, self.rows, self.tags, self.text = [], [], [], set(), ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        if tag == "img":
            self.images.append(dict(attributes))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in ("img", "meta", "br", "wbr"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if {"td", "th"} & {*self.open}:
            self.rows[-1][-1] += data
