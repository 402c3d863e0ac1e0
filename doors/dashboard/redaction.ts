/** Fields by name, with their own fields or `true` for all there is in them. */
interface Fields {
  readonly [name: string]: true | Fields;
}

/** What is shown of a job's data. Anything else may be text, whatever a client called it, and is shown as its size. */
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

/** A copy of a job's data with the fields known to hold no text, and in place of every other value its size. */
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
