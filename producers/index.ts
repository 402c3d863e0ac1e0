/** What `import … from 'mnemoq'` gives. */
export type { ContextFormat, ContextMessage, ContextRecord, ContextTokens } from './context.ts';
export { type ContextPage, type Inspection, MemoryCore, type RecentContext, type Reflection } from './memory-core.ts';
export type { QuarantinedRecord } from './quarantine.ts';
export type { Receipt, SaveOptions } from './receipt.ts';
export type { Stats } from './stats.ts';
export type { RecordState, RecordStatus } from './status.ts';
export type { Check, Verification } from './verify.ts';
export { type ErrorCode, type FieldProblem, MnemoqError } from '../shared/errors.ts';
export { type FlushResult, QUEUES } from '../shared/queues.ts';
export type { ChatInput, ChatJob, FlushJob, QuarantineJob, ReflectionInput, ReflectionJob } from '../shared/records.ts';
