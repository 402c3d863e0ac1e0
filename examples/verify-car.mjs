// Checks an archive of `mnemoq export --car` without Mnemoq, with public libraries and Node.js 22 only:
//
//   npm install @ipld/car canonicalize ipfs-unixfs-exporter multiformats
//   node verify-car.mjs memory.car PUBLIC_KEY...     (the key of the signer, as `mnemoq doctor` shows it)
//
// It prints a line for each document, and ends with 1 when a check fails:
//
//   ok  bafkrei… public knowledge of 2026-01-02T03:04:05.678Z
//   BAD bafkrei… the signature does not hold
import { createHash, createPublicKey, verify } from 'node:crypto';
import { CarIndexedReader } from '@ipld/car';
import canonicalize from 'canonicalize';
import { exporter } from 'ipfs-unixfs-exporter';
import { CID } from 'multiformats/cid';

const [file, ...keys] = process.argv.slice(2);
const car = await CarIndexedReader.fromFile(file);
const sha256 = (bytes) => createHash('sha256').update(bytes).digest();
const publicKey = (x) => createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });

async function* get(cid) {
  const { bytes } = (await car.get(cid)) ?? {};
  if (!bytes || !sha256(bytes).equals(cid.multihash.digest)) throw new Error('a block is missing or altered');
  yield bytes;
}

async function check(cid) {
  const bytes = Buffer.concat(await Array.fromAsync((await exporter(cid, { get })).content()));
  const { signature, ...body } = JSON.parse(bytes.toString());
  const { text, signingKey } = body;
  const [signed, signatureBytes] = [Buffer.from(canonicalize(body)), Buffer.from(signature, 'base64url')];
  const links = {
    'it is not canonical JSON': canonicalize({ ...body, signature }) === bytes.toString(),
    [`it is signed by another key, ${signingKey}`]: keys.includes(signingKey),
    'the signature does not hold': verify(null, signed, publicKey(signingKey), signatureBytes),
    'the text has another digest': text === undefined || sha256(text).toString('hex') === body.sha256,
  };
  for (const [problem, holds] of Object.entries(links)) if (!holds) throw new Error(problem);
  return `${text === undefined ? 'private' : 'public'} ${body.type} of ${body.createdAt}`;
}

// It goes from the root, which is the last page, to the first page. A page is DAG-JSON (0x0129). A root that is not DAG-JSON is
// itself a document.
let [next] = await car.getRoots();
while (next) {
  const page = next.code === 0x0129 && JSON.parse(Buffer.concat(await Array.fromAsync(get(next))).toString());
  for (const cid of page ? page.documents.map((document) => CID.parse(document.cid['/'])) : [next]) {
    const [word, found] = await check(cid).then(
      (is) => ['ok ', is],
      ({ message }) => ['BAD', message],
    );
    console.log(word, String(cid), found);
    if (word === 'BAD') process.exitCode = 1;
  }
  next = page && page.previous && CID.parse(page.previous['/']);
}
await car.close();
