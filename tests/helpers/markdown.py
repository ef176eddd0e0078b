"""A Markdown parser, and texts that contain Markdown, HTML and commands."""

from markdown_it import MarkdownIt

TEXT = {"inline", "text", "text_special"}
TABLE = {
    f"{part}_{end}"
    for part in ("table", "thead", "tbody", "tr", "th", "td")
    for end in ("open", "close")
}
MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])
EVIL = [
    "<img src=x onerror=1>",
    "</pre><script>1</script>",
    "[a](http://evil.example) ![b](http://evil.example/p.png) <http://evil.example>",
    "http://evil.example/x www.evil.example WWW.evil.example mailto:a@b.example",
    "@octocat and org/repo#12 and #12",
    "a | b || c",
    "`code` **bold** __bold__ _it_ ~~gone~~ $x^2$ :tada:",
    "back\\slash \\| \\",
    "&amp; &#60;b&#62;",
    "line\n\n# heading\n- item\n::error::forged",
    "::stop-commands::x",
    "a%0A::error::forged",
    "50% of it: a, b",
    "\x1b[31mred\u202egnp",
    "section_internalization is 3.5 -- √nats λ=1 (n=8)",
]


def inlines(page):
    """Types of all tokens in the page, block and inline, and the visible text."""
    blocks = MARKDOWN.parse(page)
    tokens = [*blocks, *(child for block in blocks for child in block.children or ())]
    text = "".join(token.content for token in tokens if token.type == "text")
    return {token.type for token in tokens}, text
