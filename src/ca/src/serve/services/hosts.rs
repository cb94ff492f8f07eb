//! `jitssh.v1.Hosts`: every call begins and ends here.

use jit_ssh_api::v1;
use jit_ssh_api::v1::hosts_server::Hosts;
use tonic::{Request, Response, Status, async_trait};

use super::host_watch::Watch;
use super::{HostsService, directory, enroll, host_certificate, host_watch, report};
use crate::serve::call::Call;

#[async_trait]
impl Hosts for HostsService {
    type WatchStream = Watch;

    async fn watch(
        &self,
        request: Request<v1::WatchHostsRequest>,
    ) -> Result<Response<Watch>, Status> {
        let call = Call::begin(&self.0, "Hosts/Watch", &request);
        let result = host_watch::watch(&call, request.into_inner());
        call.end(result)
    }

    async fn report_sessions(
        &self,
        request: Request<v1::ReportSessionsRequest>,
    ) -> Result<Response<v1::ReportSessionsResponse>, Status> {
        let call = Call::begin(&self.0, "Hosts/ReportSessions", &request);
        let result = report::report(&call, request.into_inner()).await;
        call.end(result)
    }

    async fn renew_host_certificate(
        &self,
        request: Request<v1::RenewHostCertificateRequest>,
    ) -> Result<Response<v1::RenewHostCertificateResponse>, Status> {
        let call = Call::begin(&self.0, "Hosts/RenewHostCertificate", &request);
        let result = host_certificate::renew(&call, &request.into_inner()).await;
        call.end(result)
    }

    async fn enroll(
        &self,
        request: Request<v1::EnrollRequest>,
    ) -> Result<Response<v1::EnrollResponse>, Status> {
        let call = Call::begin(&self.0, "Hosts/Enroll", &request);
        let result = enroll::enroll(&call, request.into_inner()).await;
        self.0.metrics.enrolment(&result);
        call.end(result)
    }

    async fn get_enrolments(
        &self,
        request: Request<v1::GetEnrolmentsRequest>,
    ) -> Result<Response<v1::GetEnrolmentsResponse>, Status> {
        let call = Call::begin(&self.0, "Hosts/GetEnrolments", &request);
        let result = enroll::enrolments(&call, &request.into_inner());
        call.end(result)
    }

    async fn list(
        &self,
        request: Request<v1::ListHostsRequest>,
    ) -> Result<Response<v1::ListHostsResponse>, Status> {
        let call = Call::begin(&self.0, "Hosts/List", &request);
        let result = directory::list(&call, &request.into_inner());
        call.end(result)
    }
}
