"""Forecasts of loss curves, with the variance they deserve."""

from pacesetter_search.forecasting.mixture import Forecast, forecast
from pacesetter_search.forecasting.window import BINS, Window

__all__ = ["BINS", "Forecast", "Window", "forecast"]
