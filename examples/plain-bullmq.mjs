// A producer without any code of Mnemoq: it needs two packages, bullmq and uuid, and adds a job to the queue `chat`.
//
//   REDIS_URL=redis://… node plain-bullmq.mjs
//
// prints, when a chat worker runs:
//
//   queued
//   cached: the worker has read 2 texts
//   the same job again: nothing new
import { Queue, QueueEvents } from 'bullmq';
import { v7 as uuidv7 } from 'uuid';

const connection = { url: process.env.REDIS_URL };
const queue = new Queue('chat', { connection });
const events = new QueueEvents('chat', { connection });
await events.waitUntilReady();

const turn = {
  id: uuidv7(),
  contextId: 'plain-bullmq',
  userId: 'ada',
  userMessage: 'Which tea do I like?',
  assistantMessage: 'Oolong.',
  createdAt: new Date().toISOString(),
};
// The id of the record is the id of the job, so a job that is added again is the same job.
const job = await queue.add('chat', turn, { jobId: turn.id });
console.log('queued');

await job.waitUntilFinished(events, 30_000);
console.log('cached: the worker has read 2 texts');

const again = await queue.add('chat', turn, { jobId: turn.id });
console.log(`the same job again: ${again.id === job.id ? 'nothing new' : 'another job'}`);

await events.close();
await queue.close();
