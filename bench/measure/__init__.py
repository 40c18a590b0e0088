# SPDX-License-Identifier: Apache-2.0
"""What bench/run measures, a file for each benchmark, and how it is told."""
