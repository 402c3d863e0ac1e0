/** Fields by name. The value is `true` when everything in the field is shown, or else the fields inside it that are shown. */
interface Fields {
  readonly [name: string]: true | Fields;
}

/**
 * The fields of the data of a job that are shown. Every other field may hold a text, whatever name a client gave to it, and only
 * its size is shown.
 */
const SHOWN: Fields = {
  id: true,
  contextId: true,
  conversationId: true,
  conversation_id: true,
  userId: true,
  createdAt: true,
  important: true,
  visibility: true,
  sourceIds: true,
  module: true,
  reason: true,
  batchSize: true,
  attempt: true,
  row: { id: true, context_id: true, user_id: true, created_at: true, module: true, cid: true },
  error: { code: true, message: true },
};

/** Gives a copy of the data of a job in which every value that may be a text is replaced by its size. */
export function redact(data: unknown, shown: Fields = SHOWN): unknown {
  if (typeof data !== 'object' || data === null || Array.isArray(data)) return sizeOf(data);
  const visible = Object.entries(data).map(([name, value]) => {
    const fields = Object.hasOwn(shown, name) ? shown[name] : undefined;
    if (fields === true) return [name, value];
    return [name, fields ? redact(value, fields) : sizeOf(value)];
  });
  return Object.fromEntries(visible);
}

function sizeOf(value: unknown): unknown {
  if (typeof value === 'string') return `[${value.length} characters]`;
  if (Array.isArray(value)) return `[${value.length} items]`;
  return typeof value === 'object' && value !== null ? `[${Object.keys(value).length} fields]` : value;
}
