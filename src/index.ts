/**
 * terge as a library. Each command of the command line is a function here, with its options and its result as types:
 *
 *     load          recipe → Recipe and its errors; reads only the recipe's text
 *     validate      recipe → every error and warning; reads the models' headers
 *     plan          recipe → Plan; reads only file headers
 *     comparePlans  two recipes → what a change of a recipe does
 *     run           Plan → outputs and their lineages
 *     search        recipe → the values of its search that make a metric best
 *     checkParts    recipe → what its parts would refuse, before they wait in a queue
 *     runPart       Plan → one of several parts of a run, recorded in a folder that machines share
 *     finishParts   Plan and its parts → outputs and their lineages
 *     lock          recipe → the commits, files and digests of its models
 *     verify        lineage → whether outputs and inputs still match it
 *     sign          model → a signature in the format of OpenSSF Model Signing
 *     report        lineage → an HTML page, or another format
 *     trace         lineage, tensor → where the tensor came from, through all generations
 *     inspect       model → its tensors and metadata; reads only file headers
 *     conversionRecipe  model → recipe that writes it in another layout
 *     diff          two models → how each tensor differs
 *     compareLineages  two lineages → what was done differently
 *     importMergekit  mergekit configuration → recipe
 *     importBlockWeights  a weight per block of a UNet → recipe
 *     init          models → a starter recipe
 *     listMethods   the merge methods
 *
 * A recipe is the path of a file, or an object with the same content, whose paths are relative to the working folder. `openRecipe`
 * and `planOpened` are the two halves of `plan`: with them, a program that plans several variants opens the models once.
 * `plannedTensors` gives each tensor of a plan a key, so that the tensors of several plans can be compared.
 *
 * Errors that the user can fix are thrown as a `Fault` with its diagnostics. Any other exception is a system error or a bug.
 */
import './core/abortSignal.js'

export type { Checkpoint, LogicalTensor, StoredTensor } from './checkpoints/types.js'
export type { ErrorCode } from './core/codes.js'
export { type Diagnostic, Fault, formatDiagnostic, type Place } from './core/diagnostics.js'
export type { Dtype } from './core/dtypes.js'
export type { AbsentReason, CopyReason } from './core/reasons.js'
export type { DiffOptions } from './execute/diff/compare.js'
export type {
  LayerDifference,
  ModelDifference,
  NotRead,
  OverallDifference,
  TensorDifference,
} from './execute/diff/figures.js'
export type { Listener, RunEvent } from './execute/events.js'
export type { Expr, PatternCount, ReadExpr } from './expr/types.js'
export type { CycloneDxVersion } from './lineage/forms/standard/cyclonedx.js'
export type { Trace, TraceSource, TraceStep, TraceWeight } from './lineage/history/trace.js'
export type { Lock } from './lineage/lock.js'
export { barrier, type Deviation, drop, measuredPaths, type Series } from './lineage/path/figures.js'
export { readPath, readPathOf } from './lineage/path/read.js'
export type { PathPoint, PathSummary } from './lineage/path/summary.js'
export { stepLine, stepNotes } from './lineage/steps.js'
export type { License, Lineage } from './lineage/types.js'
export { familyOf, type MethodFamily } from './methods/registry.js'
export type { Method, ParameterSchema } from './methods/types.js'
export type { Plan, PlanCheck, PlanOutput, PlanTensor } from './plan/types.js'
export type { Shapes, Spec, SpecText } from './rebasin/spec.js'
export type { Loaded, LoadOptions } from './recipe/load.js'
export type { Recipe } from './recipe/types.js'
export type {
  Change,
  Difference,
  FileChange,
  NamedChange,
  OutputDifference,
  Range,
  Sameness,
  TensorGroup,
} from './review/types.js'
export type { Point, SearchRecord, Trial } from './search/types.js'
export { diff } from './session/diff.js'
export { type ModelLicense, planLicenses } from './session/history/licenses.js'
export { type BlockWeightOptions, importBlockWeights } from './session/importing/blockWeights.js'
export type { ImportOptions } from './session/importing/mergekit.js'
export {
  type CheckpointFacts,
  checkpointFacts,
  inspect,
  type ListedTensor,
  listedTensors,
  type PermutationSpec,
  permutationSpec,
} from './session/inspect.js'
export { type KnownLayout, listLayouts, type ModelFacts, type ModelLayout, modelLayouts } from './session/layouts.js'
export { type Locked, type LockOptions, lock } from './session/lock.js'
export { findMethod, listMethods } from './session/methods.js'
export { type Conversion, conversionRecipe } from './session/newRecipes/conversion.js'
export { init, type NewRecipeOptions, recipeAsData, recipeOf } from './session/newRecipes/init.js'
export type { OneLine } from './session/newRecipes/oneLine.js'
export type { FetchOptions } from './session/opened/models.js'
export { type BoundedRun, type DownloadOptions, type Downloads, planDownloads } from './session/opened/streaming.js'
export { type CheckOptions, checkParts } from './session/parts/check.js'
export { type FinishOptions, finishParts } from './session/parts/finish.js'
export type { PartOptions } from './session/parts/options.js'
export { type PartChoice, type PartResult, runPart } from './session/parts/part.js'
export {
  importMergekit,
  type OpenedRecipe,
  openRecipe,
  type PlanOptions,
  type Prepared,
  plan,
  planOpened,
  type ValidateOptions,
  validate,
} from './session/plan.js'
export { type PlanGraph, planGraph } from './session/planning/graph.js'
export { type PlannedTensor, plannedTensors } from './session/planning/tensors.js'
export { type AdapterUpdates, type PlanView, type ViewOptions, viewPlan } from './session/planning/view.js'
export type { InputSignature } from './session/proof/trust.js'
export { load, type RecipeSource } from './session/recipe.js'
export { REPORT_FORMS, type ReportForm, type ReportOptions, report } from './session/report.js'
export { type AgainstOptions, comparePlans } from './session/review/against.js'
export { compareLineages } from './session/review/lineages.js'
export { type RunOptions, type RunResult, run, startAhead } from './session/run.js'
export type { SearchEvent, SearchListener, SearchOptions, SearchResult } from './session/search/options.js'
export { search } from './session/search/search.js'
export type { TrialData } from './session/search/trialLines.js'
export { type SignatureOptions, type Signed, type SignOptions, sign } from './session/signing.js'
export type { DigestOptions, Digests } from './session/sums/digests.js'
export { type TraceOptions, trace } from './session/trace.js'
export { type Verified, type VerifyOptions, verify } from './session/verify.js'
export type { AnalysisCost } from './steps/analysis.js'
export type { Analysis } from './steps/index.js'
export type { MoeAnalysis } from './steps/moe/types.js'
export type { RebasinAnalysis } from './steps/rebasin/types.js'
export type { RepairAnalysis } from './steps/repair/types.js'
export type { TransplantAnalysis } from './steps/transplant/types.js'
export type { ZipAnalysis } from './steps/zip/types.js'
export type { View } from './views/types.js'
