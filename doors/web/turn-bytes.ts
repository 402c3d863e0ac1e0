import { TEXT_BYTES } from '../../shared/records/jobs.ts';

/** A turn as JSON: two of the longest texts, every character of which may be an escape of six (`\u0001`), and its ids. */
export const TURN_BYTES = 2 * 6 * TEXT_BYTES + 64 * 1024;
