/** What `import … from 'mnemoq'` gives. */
export type { ArchiveOptions, ArchivePart, MissingDocument } from './archive.ts';
export type { CacheRestoration, CacheRestorationOptions } from './cache-restoration.ts';
export type { ContextMessage } from '../shared/messages.ts';
export type { ContextFormat, ContextRecord, ContextTokens } from './context.ts';
export type { Conversation, ConversationPage, ConversationsOptions } from './conversations.ts';
export type { DocumentRestoration, RestorationOptions } from './document-restoration.ts';
export type { ErasureReceipt, ForgetOptions } from './erasure.ts';
export type { FlushOptions } from './flushing.ts';
export type { KnowledgeImportOptions } from './knowledge-import.ts';
export type { KnowledgeItem, KnowledgeOptions, KnowledgePage } from './knowledge.ts';
export { MemoryCore } from './memory-core.ts';
export type { Link, Source, Trace, TraceOptions } from './provenance.ts';
export type { QuarantinedRecord } from './quarantine.ts';
export type { ContextPage, Inspection, PageOptions, RecentContext, RecentOptions, Scope } from './reading.ts';
export type { ReflectionRequestReceipt, ReflectorOptions } from './reflecting.ts';
export type { Receipt, SaveOptions } from './receipt.ts';
export type { ListedReflection, Reflection, ReflectionPage, ReflectionsOptions } from './reflections.ts';
export type { RekeyFailure, RekeyOptions, RekeyProgress, SealedTier } from './rekeying.ts';
export type { SearchHit, SearchOptions, SearchResult } from './search.ts';
export type { Stats } from './stats.ts';
export type { RecordState, RecordStatus } from './status.ts';
export type { EventHandler } from './subscriptions.ts';
export type { ExportOptions } from './training-data.ts';
export type { TrendBucketFigures, Trends, TrendsOptions } from './trends.ts';
export type { Check, Verification } from './verify.ts';
export type { VerifiedReflection, VerifyAllOptions } from './verify-all.ts';
export { type ErrorCode, type FieldProblem, MnemoqError } from '../shared/errors.ts';
export type { EventType, Followed, FollowOptions, MemoryEvent } from '../shared/events.ts';
export type { Reflector, ReflectorContext } from '../shared/reflector.ts';
export { type FlushResult, QUEUES } from '../shared/queues.ts';
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
} from '../shared/records.ts';
