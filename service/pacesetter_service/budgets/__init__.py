"""Budgets that change while a job runs."""
