# SPDX-License-Identifier: Apache-2.0
# What hull's machines consist of (src/vm/launch.c), and nothing else.
CONFIG_MICROVM=y
CONFIG_VIRTIO_BLK=y
CONFIG_VIRTIO_NET=y
CONFIG_VIRTIO_SERIAL=y
