/** How the HTTP API and the MCP tools describe what both of them take. */
export const CURSOR = { description: 'The `next_cursor` of an earlier page; without it the first page.' };
export const LIMIT = 'Most items of a page.';
export const MAX_TOKENS =
  'Most tokens of all records together, by their stored counts. The first record that does not fit ends it.';
export const FROM = 'From this moment on: ISO 8601 with zone.';
export const TO = 'Before this moment: ISO 8601 with zone.';
export const OF_USER = "Only this user's records.";
export const OF_CONTEXT = 'Only this conversation.';
