"""The web application: parse a request, call one service, render its answer."""
