//! Measures effects on their way to the handler that carries them out.

use std::{sync::Arc, time::Instant};

use hersh_machine::{OpId, driver::Recovery};
use hersh_program::{
    BuildId, BuildRules, Cause, Effect, EffectHandler, Event, ImageId, InstanceNumber,
    InstanceStatus, Instances, Manifest, OperationContext, StartResult,
};

use super::Metrics;

/// An effect handler whose effects are measured.
pub(crate) struct MeasuredEffects<H> {
    handler: H,
    metrics: Metrics,
}

impl<H> MeasuredEffects<H> {
    pub(crate) fn new(handler: H, metrics: Metrics) -> Self {
        Self { handler, metrics }
    }

    async fn measure<T>(
        &self,
        effect: &'static str,
        operation: &OperationContext,
        work: impl Future<Output = Result<T, Cause>>,
    ) -> Result<T, Cause> {
        let began = Instant::now();
        let _running = self.metrics.effect_began(effect);
        let result = work.await;
        // The result of a cancelled effect says nothing.
        let outcome = match &result {
            _ if operation.cancel.is_cancelled() => "cancelled",
            Ok(_) => "ok",
            Err(_) => "failed",
        };
        self.metrics.effect_ended(effect, outcome, began.elapsed());
        result
    }
}

impl<H: EffectHandler> EffectHandler for MeasuredEffects<H> {
    async fn ensure_program_folders(&self, operation: &OperationContext) -> Result<(), Cause> {
        let work = self.handler.ensure_program_folders(operation);
        self.measure("ensure_program_folders", operation, work)
            .await
    }

    async fn build_image(
        &self,
        operation: &OperationContext,
        build: &BuildId,
        rules: &BuildRules,
        timeout_ms: u64,
    ) -> Result<ImageId, Cause> {
        let work = self
            .handler
            .build_image(operation, build, rules, timeout_ms);
        self.measure("build_runtime", operation, work).await
    }

    async fn start_instance(
        &self,
        operation: &OperationContext,
        instance: InstanceNumber,
        image: &ImageId,
        manifest: &Arc<Manifest>,
    ) -> Result<StartResult, Cause> {
        let work = self
            .handler
            .start_instance(operation, instance, image, manifest);
        self.measure("start_runtime", operation, work).await
    }

    async fn stop_instances(
        &self,
        operation: &OperationContext,
        instances: Instances,
        drain_ms: u64,
        grace_ms: u64,
    ) -> Result<(), Cause> {
        let work = self
            .handler
            .stop_instances(operation, instances, drain_ms, grace_ms);
        self.measure("stop_runtime", operation, work).await
    }

    async fn observe_instance(
        &self,
        operation: &OperationContext,
        instance: InstanceNumber,
    ) -> Result<InstanceStatus, Cause> {
        let work = self.handler.observe_instance(operation, instance);
        self.measure("fetch_runtime_status", operation, work).await
    }

    async fn remove_program(&self, operation: &OperationContext) -> Result<(), Cause> {
        let work = self.handler.remove_program(operation);
        self.measure("remove_program", operation, work).await
    }

    async fn recover(&self, op: OpId, effect: &Effect, issued_at_ms: u64) -> Recovery<Event> {
        self.handler.recover(op, effect, issued_at_ms).await
    }
}
