// A producer that knows BullMQ 5 and nothing of Mnemoq. Its argument is the conversation; it prints the ids of what it saved.
import { Queue, QueueEvents } from 'bullmq';
import { v7 as uuidv7 } from 'uuid';

const [contextId] = process.argv.slice(2);
const connection = { url: process.env.REDIS_URL };
const queues = ['chat', 'reflection'].map((name) => new Queue(name, { connection }));
const [chat, reflections] = queues;
const followers = queues.map(({ name }) => new QueueEvents(name, { connection }));
const [chatEvents, reflectionEvents] = followers;
await Promise.all(followers.map((events) => events.waitUntilReady()));

const turn = (minute) => ({
  id: uuidv7(),
  contextId,
  userId: 'ann',
  userMessage: `question ${minute}`,
  assistantMessage: `answer ${minute}`,
  createdAt: `2026-01-01T00:0${minute}:00.000Z`,
});
const turns = [1, 2, 3, 4].map(turn);
const [first, second, ...bulk] = turns;
const jobs = [
  await chat.add('chat', first, {
    jobId: first.id,
    delay: 200,
    attempts: 3,
    backoff: { type: 'exponential', delay: 100 },
  }),
  await chat.add('chat', second, { jobId: second.id, priority: 5, removeOnComplete: 10 }),
  ...(await chat.addBulk(bulk.map((data) => ({ name: 'chat', data, opts: { jobId: data.id, lifo: true } })))),
];
await Promise.all(jobs.map((job) => job.waitUntilFinished(chatEvents, 30_000)));

const learned = {
  id: uuidv7(),
  contextId,
  userId: 'ann',
  reflectionText: 'Answer with a number.',
  visibility: 'private',
  createdAt: '2026-01-01T00:09:00.000Z',
};
const reflection = await reflections.add('reflection', learned, { jobId: learned.id });
await reflection.waitUntilFinished(reflectionEvents, 30_000);

const { userMessage: _left, ...incomplete } = turn(5);
const wrong = await chat.add('chat', incomplete, { jobId: incomplete.id });
const refused = await wrong.waitUntilFinished(chatEvents, 30_000).then(
  () => '',
  (error) => error.message,
);

process.stdout.write(JSON.stringify({ turns: turns.map(({ id }) => id), reflection: learned.id, refused }));
await Promise.all([...followers, ...queues].map((each) => each.close()));
