/**
 * Whether a text is a secret of Standard Webhooks: `whsec_` and base64 of 24 to 64 bytes. Only the one spelling of the base64
 * is taken, because decoding ignores what it cannot read.
 */
export function isWebhookSecret(value: string): boolean {
  const [, base64 = ''] = /^whsec_([A-Za-z0-9+/]+=*)$/.exec(value) ?? [];
  const bytes = Buffer.from(base64, 'base64');
  return bytes.toString('base64') === base64 && bytes.length >= 24 && bytes.length <= 64;
}
