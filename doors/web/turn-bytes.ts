import { TEXT_BYTES } from '../../shared/records/jobs.ts';

/**
 * The largest turn as JSON: two of the longest texts, in which every byte may be written as an escape of six (`\u0001`), and
 * room for the ids.
 */
export const TURN_BYTES = 2 * 6 * TEXT_BYTES + 64 * 1024;
