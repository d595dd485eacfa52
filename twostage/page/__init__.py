"""The reading page: one HTML file that reads photographs, by itself or by a server."""

from twostage.page.assembly import page_html

__all__ = ["page_html"]
