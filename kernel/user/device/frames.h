/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * frames.h -- raw frames: an ARP question to the host, and its answer.
 */
#ifndef PASTE_DEVICE_FRAMES_H
#define PASTE_DEVICE_FRAMES_H

#include "device.h"

#define FRAME_BYTES 60u

/* Writes who-has 10.77.0.1 tell 10.77.0.2, from eth0's address. */
void frames_question(char *frame);
/* Puts one into a TX ring, where the slot's offset says; it is not sent yet. */
void frames_put_question(struct device *device, int ring);
/* Whether these bytes are the host's answer. */
bool frames_is_answer(const char *frame, uint32_t length);
/* The frame of a slot. */
char *frames_of_slot(struct device *device, int ring, const struct netmap_slot *slot);
/* Waits for an answer; gives back all slots up to it. */
void frames_expect_answer(struct device *device);
/* Syncs and counts the answers that are there; gives all slots back. */
uint32_t frames_answers(struct device *device);

#endif
