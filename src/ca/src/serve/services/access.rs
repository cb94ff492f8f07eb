//! `jitssh.v1.Access`: every call begins and ends here.

use jit_ssh_api::v1;
use jit_ssh_api::v1::access_server::Access;
use tonic::{Request, Response, Status, async_trait};

use super::watch::Watch;
use super::{AccessService, certify, check, decide, explain, list, reading, submit, watch};
use crate::serve::call::Call;

#[async_trait]
impl Access for AccessService {
    async fn explain(
        &self,
        request: Request<v1::ExplainRequest>,
    ) -> Result<Response<v1::ExplainResponse>, Status> {
        let call = Call::begin(&self.0, "Access/Explain", &request);
        let result = explain::explain(&call, &request.into_inner()).await;
        call.end(result)
    }

    async fn submit(
        &self,
        request: Request<v1::SubmitRequest>,
    ) -> Result<Response<v1::SubmitResponse>, Status> {
        let call = Call::begin(&self.0, "Access/Submit", &request);
        let result = submit::submit(&call, request.into_inner()).await;
        self.0.metrics.request(&result);
        call.end(result)
    }

    async fn decide(
        &self,
        request: Request<v1::DecideRequest>,
    ) -> Result<Response<v1::DecideResponse>, Status> {
        let call = Call::begin(&self.0, "Access/Decide", &request);
        let result = decide::decide(&call, request.into_inner()).await;
        self.0.metrics.decision(&result);
        call.end(result)
    }

    async fn end(
        &self,
        request: Request<v1::EndRequest>,
    ) -> Result<Response<v1::EndResponse>, Status> {
        let call = Call::begin(&self.0, "Access/End", &request);
        let result = decide::end(&call, request.into_inner()).await;
        call.end(result)
    }

    async fn certify(
        &self,
        request: Request<v1::CertifyRequest>,
    ) -> Result<Response<v1::CertifyResponse>, Status> {
        let call = Call::begin(&self.0, "Access/Certify", &request);
        let result = certify::certify(&call, &request.into_inner()).await;
        self.0.metrics.certificate(&result);
        call.end(result)
    }

    async fn get(
        &self,
        request: Request<v1::GetRequest>,
    ) -> Result<Response<v1::GetResponse>, Status> {
        let call = Call::begin(&self.0, "Access/Get", &request);
        let result = reading::get(&call, &request.into_inner()).await;
        call.end(result)
    }

    async fn list(
        &self,
        request: Request<v1::ListRequest>,
    ) -> Result<Response<v1::ListResponse>, Status> {
        let call = Call::begin(&self.0, "Access/List", &request);
        let result = list::list(&call, &request.into_inner()).await;
        call.end(result)
    }

    type WatchStream = Watch;

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Watch>, Status> {
        let call = Call::begin(&self.0, "Access/Watch", &request);
        let result = watch::watch(&call, request).await;
        call.end(result)
    }

    async fn check(
        &self,
        request: Request<v1::CheckRequest>,
    ) -> Result<Response<v1::CheckResponse>, Status> {
        let call = Call::begin(&self.0, "Access/Check", &request);
        let result = check::check(&call, &request.into_inner()).await;
        call.end(result)
    }
}
