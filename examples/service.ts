// A small HTTP service that remembers its conversations with MemoryCore.
//
//   PORT=8080 node service.ts
//   curl -d '{"user":"ada","message":"Hello"}' http://127.0.0.1:8080/chat/tea
//   curl -d '{"user":"ada","message":"Again"}' http://127.0.0.1:8080/chat/tea
//
// answers, while a chat worker runs:
//
//   {"reply":"You said Hello; 0 turns before."}
//   {"reply":"You said Again; 1 turns before."}
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { MemoryCore, MnemoqError } from 'mnemoq';

const memory = new MemoryCore();

async function chat(request: IncomingMessage): Promise<object> {
  const contextId = decodeURIComponent(request.url?.replace(/^\/chat\//, '') ?? '');
  const { user: userId, message: userMessage } = JSON.parse(await text(request));
  const { items } = await memory.loadRecentContext(contextId, { maxTokens: 1000, userId });
  const assistantMessage = `You said ${userMessage}; ${items.length} turns before.`;
  // This waits for the worker, so that the next request certainly knows this turn. Without `wait` it answers sooner.
  await memory.saveChat({ contextId, userId, userMessage, assistantMessage }, { wait: true });
  return { reply: assistantMessage };
}

const server = createServer((request, response) => {
  chat(request).then(
    (answer) => response.end(`${JSON.stringify(answer)}\n`),
    (error: unknown) => {
      // `problems` names each wrong field; nothing was saved.
      const wrong = error instanceof SyntaxError || (error instanceof MnemoqError && error.code === 'invalid_input');
      response.writeHead(wrong ? 400 : 503).end(`${JSON.stringify({ error: (error as Error).message })}\n`);
    },
  );
});
server.listen(Number(process.env['PORT'] ?? 8080), '127.0.0.1');
await once(server, 'listening');
console.log(`listening on http://127.0.0.1:${(server.address() as AddressInfo).port}`);

process.once('SIGTERM', () => {
  server.close(() => {
    void memory.close().then(() => console.log('stopped'));
  });
});
