/**
 * **producers/**: what services call. `MemoryCore` has one method for each call, and each call is a function in the
 * folder of what its caller wants. How others reach it over a network belongs into `doors/`.
 */
/** What `import … from 'mnemoq'` gives. */
export type { Environment } from '../shared/settings/config.ts';
export { type Encoding, ENCODINGS } from '../shared/records/tokenizer.ts';
export {
  type Module,
  MODULES,
  PINNED_MODULES,
  type PinnedModule,
  VISIBILITIES,
  type Visibility,
} from '../shared/records/records.ts';
export type { ArchiveFailure, ArchiveOptions, ArchivePart } from './keeping/archive.ts';
export type { CacheRestoration, CacheRestorationOptions } from './keeping/cache-restoration.ts';
export type { ContextMessage } from '../shared/records/messages.ts';
export type { ContextFormat, ContextRecord, ContextTokens } from './reading/context.ts';
export type { Conversation, ConversationsOptions } from './reading/conversations.ts';
export type { ArchiveRestorationOptions } from './keeping/document-restoration.ts';
export type { DocumentRestoration } from './keeping/restored-rows.ts';
export type { ErasureReceipt, ForgetOptions } from './keeping/erasure.ts';
export type { FlushOptions, FlushReceipt } from './saving/flushing.ts';
export type { KnowledgeImport } from './reflections/knowledge-import.ts';
export type { KnowledgeItem, KnowledgeOptions } from './reflections/knowledge.ts';
export { MemoryCore } from './memory-core.ts';
export type { Page } from './parts/page.ts';
export type { WithConversation } from '../shared/records/conversation-id.ts';
export type { Trace, TraceLink, TraceOptions, TraceSource } from './reflections/provenance.ts';
export type { QuarantinedRecord, QuarantineOptions } from './saving/quarantine-list.ts';
export type { RetryOptions, RetryResult } from './saving/quarantine-retry.ts';
export type {
  ContextPage,
  Inspection,
  ContextPageOptions,
  ReadOptions,
  RecentContext,
  RecentOptions,
} from './reading/reading.ts';
export type { ReflectionRequestReceipt, ReflectorOptions } from './reflections/reflecting.ts';
export type { Receipt, SaveOptions } from './saving/receipt.ts';
export type {
  ConversationReflectionsOptions,
  ListedReflection,
  Reflection,
  ReflectionPage,
  ReflectionsOptions,
} from './reflections/reflections.ts';
export type { RekeyFailure, RekeyOptions, RekeyProgress } from './keeping/rekeying.ts';
export type { SealedTier } from './keeping/resealing.ts';
export type { SearchHit, SearchOptions, SearchResult } from './questions/search.ts';
export type { Stats } from './reading/stats.ts';
export type { RecordState, RecordStatus } from './reading/status.ts';
export type { EventHandler } from './parts/subscriptions.ts';
export type { TrainingDataOptions } from './questions/training-data.ts';
export type { TrendBucket, Trends, TrendsOptions } from './questions/trends.ts';
export type { Verification, VerificationCheck } from './reflections/verify.ts';
export type { VerifiedReflection, VerifyAllOptions } from './reflections/verify-all.ts';
export { type ErrorCode, type FieldProblem, isError, MnemoqError } from '../shared/errors.ts';
export type { Followed, Following, FollowOptions } from '../shared/short-term/event-feed.ts';
export {
  EVENT_TYPES,
  type EventData,
  type EventOf,
  type EventType,
  type MemoryEvent,
} from '../shared/short-term/events.ts';
export type { Reflector, ReflectorContext } from '../shared/process/reflector.ts';
export { type ChatResult, type FlushResult, type QueueName, QUEUES, type ReflectionResult } from '../shared/queues.ts';
export type {
  ChatInput,
  ChatJob,
  FinetuneInput,
  FlushJob,
  KnowledgeInput,
  QuarantineJob,
  ReflectionInput,
  ReflectionJob,
  ReflectionRequest,
  ReflectorJob,
} from '../shared/records/jobs.ts';
