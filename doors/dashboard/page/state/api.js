/** Requests to the server from which this page came. The browser adds the name and secret that the user gave it. */

/** @typedef {{ status: number, title: string }} Failure what went wrong; status 0 when nobody answered */

/**
 * @param {string} pathname
 * @param {Record<string, string | number | undefined>} [query]
 * @returns {Promise<any>}
 */
export async function get(pathname, query = {}) {
  const given = Object.entries(query).flatMap(([name, value]) => (value === undefined ? [] : [[name, String(value)]]));
  const search = given.length > 0 ? `?${new URLSearchParams(given)}` : '';
  return ask(`${pathname}${search}`, { method: 'GET' });
}

/** @param {string} pathname @param {object} body @returns {Promise<any>} */
export async function post(pathname, body) {
  return ask(pathname, {
    method: 'POST',
    body: JSON.stringify(body),
    headers: { 'content-type': 'application/json' },
  });
}

/** @param {string} pathname @param {RequestInit} init */
async function ask(pathname, init) {
  const response = await fetch(pathname, init).catch(() => {
    throw failure(0, '');
  });
  const answer = await response.json().catch(() => null);
  if (!response.ok) throw failure(response.status, answer?.detail ?? answer?.title ?? answer?.message ?? '');
  return answer;
}

/** @param {number} status @param {string} title @returns {Error & Failure} */
function failure(status, title) {
  return Object.assign(new Error(title), { status, title });
}

/** @param {unknown} error @returns {Failure} */
export function failureOf(error) {
  const { status, title, message } = /** @type {any} */ (error ?? {});
  return typeof status === 'number' ? { status, title } : { status: -1, title: String(message ?? error) };
}
