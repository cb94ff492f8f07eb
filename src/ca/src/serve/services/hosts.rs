//! `jitssh.v1.Hosts`: every call begins and ends here.

use jit_ssh_api::v1;
use jit_ssh_api::v1::hosts_server::Hosts;
use tonic::{Request, Response, Status, async_trait};

use super::{HostsService, directory, enroll};
use crate::serve::call::Call;

#[async_trait]
impl Hosts for HostsService {
    async fn enroll(
        &self,
        request: Request<v1::EnrollRequest>,
    ) -> Result<Response<v1::EnrollResponse>, Status> {
        let call = Call::begin(&self.0, "Hosts/Enroll", &request);
        let result = enroll::enroll(&call, request.into_inner()).await;
        self.0.metrics.enrolment(&result);
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
