import { fromSortable, toSortable } from '../moments.ts';

/**
 * The place of a record in its conversation, the text `<createdAt with microseconds>|<id>`. Both parts have a fixed form, so
 * positions compare as plain text, the same way everywhere: here, in Redis (by bytes) and in PostgreSQL (by timestamp, then
 * by uuid).
 */
export interface Position {
  createdAt: string;
  id: string;
}

export function positionOf({ createdAt, id }: Position): string {
  return `${toSortable(createdAt)}|${id}`;
}

/** The parts of a position that `positionOf` has made. */
export function parsePosition(position: string): Position {
  const [createdAt = '', id = ''] = position.split('|');
  return { createdAt: fromSortable(createdAt), id };
}

/** Sorts records by their positions, the oldest first. */
export function byPosition(a: Position, b: Position): number {
  return positionOf(a) < positionOf(b) ? -1 : 1;
}
