"""What the API says of itself: the OpenAPI document, its examples, and the page that shows it."""
