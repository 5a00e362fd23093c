// Public within the library: a folder with a repository's files.

export { tryLock } from './lock.js'
export { type HubSettings, hubSettings } from './settings.js'
export { type DownloadEvent, downloadSnapshot, type SnapshotOptions } from './snapshot.js'
