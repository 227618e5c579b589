/** What a branch was, and is after own commits. */
export interface HubHead {
  /** The commit that the next one follows. */
  parent?: string | undefined
  /** What has to be made first. */
  missing?: 'branch' | 'repository' | undefined
}
